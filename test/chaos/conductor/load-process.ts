// Runs the load in a child process, and keeps what the brokers have acknowledged, also of a load that was killed.
import { resolve } from "node:path";
import { type Reaper, reapOnExit } from "../../../shared/runtime/child-reaper.ts";
import { eventually } from "../../support/eventually.ts";
import { inherited } from "../../support/process.ts";
import type { Acknowledged } from "./ledger.ts";
import type { LoadOptions, LoadReport } from "./load.ts";
import type { LogKey } from "./log-history.ts";

const SCRIPT = resolve(import.meta.dir, "load.ts");
const STOP_DEADLINE_MS = 60_000;

interface PartitionAcknowledged {
  readonly key: LogKey;
  readonly records: Acknowledged[];
  /** The offset after the last acknowledged one, since the log was cut last. */
  end: number;
}

/** The load of a run; at most one process at a time. */
export class LoadProcess implements AsyncDisposable {
  /** Ids of the topics, in the order of `topics`; they change when a topic is created again. */
  topicIds: [string, string] = ["", ""];
  /** Records that failed; they may be in the log. */
  failed = 0;
  /** Records that a load could not deliver before it ended; they may be in the log. */
  outstanding = 0;
  acknowledgedTotal = 0;
  lastError = "";
  readonly #options: Omit<LoadOptions, "from">;
  readonly #acknowledged = new Map<string, PartitionAcknowledged>();
  #process: Bun.Subprocess<"ignore", "pipe", "pipe"> | undefined;
  #reaper: Reaper | undefined;
  #reading: Promise<unknown> = Promise.resolve();
  #reserved = 0;
  #errors = "";

  constructor(options: Omit<LoadOptions, "from">) {
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** What was acknowledged, by partition. */
  get acknowledged(): readonly PartitionAcknowledged[] {
    return [...this.#acknowledged.values()];
  }

  /** Starts a load that goes on with the numbers after those of the last one. */
  start(): void {
    if (this.#process !== undefined) throw new Error("the load runs");
    const options: LoadOptions = { ...this.#options, from: this.#reserved };
    const started = Bun.spawn([process.execPath, "--no-env-file", SCRIPT, JSON.stringify(options)], {
      env: inherited("PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME"),
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#process = started;
    this.#reaper = reapOnExit({ pid: started.pid, signal: "KILL" });
    this.#reading = Promise.all([this.#read(started.stdout), this.#readErrors(started.stderr)]);
  }

  /** Lets it deliver what it has, and ends it. @throws Error with its output when it does not end */
  async stop(): Promise<void> {
    await this.#end("SIGTERM");
  }

  /** @returns its process id */
  async kill(): Promise<number> {
    const pid = this.#process?.pid ?? 0;
    await this.#end("SIGKILL");
    return pid;
  }

  /** The log of a partition was cut: what is acknowledged from now on lies there. */
  logWasCut(key: LogKey, offset: number): void {
    this.#of(key).end = offset;
  }

  /** Waits until more records are acknowledged. */
  async flows(records: number, timeoutMs: number): Promise<void> {
    const goal = this.acknowledgedTotal + records;
    await eventually(
      `the load is acknowledged (${this.lastError}${this.#errors})`,
      () => this.acknowledgedTotal >= goal,
      { timeoutMs },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  async #end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const running = this.#process;
    if (running === undefined) return;
    running.kill(signal);
    await eventually("the load has ended", () => running.exitCode !== null || running.signalCode !== null, {
      timeoutMs: STOP_DEADLINE_MS,
    });
    await this.#reading;
    this.#reaper?.release();
    this.#process = undefined;
  }

  async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const bytes of stream) {
      const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
      // The last line of a load that was killed may be cut off: those records count as not acknowledged.
      rest = lines.pop() ?? "";
      for (const line of lines) this.#take(JSON.parse(line) as LoadReport);
    }
  }

  async #readErrors(stream: ReadableStream<Uint8Array>): Promise<void> {
    for await (const bytes of stream) this.#errors = Buffer.from(bytes).toString().slice(-2000);
  }

  #take({ reserved, acknowledged, failed, lastError, outstanding }: LoadReport): void {
    this.#reserved = reserved;
    this.failed += failed.length;
    this.outstanding += outstanding ?? 0;
    this.lastError = lastError;
    for (let index = 0; index < acknowledged.length; index += 4) {
      const [topic, partition, offset, number] = acknowledged.slice(index, index + 4) as [
        0 | 1,
        number,
        number,
        number,
      ];
      const key = { topic: this.#options.topics[topic], topicId: this.topicIds[topic], partition };
      const of = this.#of(key);
      of.records.push({ offset, number });
      of.end = Math.max(of.end, offset + 1);
      this.acknowledgedTotal++;
    }
  }

  #of(key: LogKey): PartitionAcknowledged {
    const name = `${key.topic} ${key.topicId} ${key.partition}`;
    let found = this.#acknowledged.get(name);
    if (found === undefined) {
      found = { key, records: [], end: 0 };
      this.#acknowledged.set(name, found);
    }
    return found;
  }
}
