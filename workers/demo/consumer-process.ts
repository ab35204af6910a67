// An environment in; the consumer program as a process of its own out, with its log in a file and a sure end.
import { closeSync, openSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { FatalError } from "../../shared/runtime/errors.ts";
import { freePort } from "../../shared/runtime/free-port.ts";
import { type Reaper, reapOnExit } from "../../shared/runtime/child-reaper.ts";

const ROOT = resolve(import.meta.dir, "../..");
const HOST = "127.0.0.1";
/** Of this process's environment; the rest, and what a .env file adds to it, is not the demo's. */
const INHERITED = ["PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "LD_LIBRARY_PATH", "TZ", "AUTO_SETUP"];
const READY_POLL_MS = 20;
const READY_DEADLINE_MS = 60_000;
const TAIL_LINES = 12;

/** How a process ended: exactly one of the two is set. */
interface End {
  readonly exitCode: number | null;
  readonly signal: string | number | null;
}

export class ConsumerProcess {
  /** Where it serves the console, /metrics, /healthz and /readyz. */
  readonly port: number;
  readonly logPath: string;
  /** Resolves when the process is gone. */
  readonly ended: Promise<End>;
  readonly #process: Bun.Subprocess;
  readonly #reaper: Reaper;

  private constructor(environment: Readonly<Record<string, string>>, port: number, logPath: string) {
    this.port = port;
    this.logPath = logPath;
    const inherited = INHERITED.flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value] as const];
    });
    const log = openSync(this.logPath, "a");
    this.#process = Bun.spawn([process.execPath, "--no-env-file", join(ROOT, "workers/consumer.ts")], {
      cwd: ROOT,
      env: {
        ...Object.fromEntries(inherited),
        ...environment,
        HTTP_HOST: HOST,
        METRICS_PORT_CONSUMER: String(port),
      },
      // A session of its own: Ctrl-C is the demo's to hear, which tells the consumer when all is published.
      detached: true,
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    // Whatever ends the demo ends it too; that is no harm, it is made to be killed.
    this.#reaper = reapOnExit({ pid: this.#process.pid, signal: "KILL" });
    this.ended = this.#process.exited.then(() => {
      this.#reaper.release();
      return { exitCode: this.#process.exitCode, signal: this.#process.signalCode };
    });
  }

  /**
   * Starts the program.
   * @param preferredPort used when nobody listens on it
   * @param logPath the file that takes what it prints
   */
  static async start(
    environment: Readonly<Record<string, string>>,
    preferredPort: number,
    logPath: string,
  ): Promise<ConsumerProcess> {
    return new ConsumerProcess(environment, await freePort(preferredPort), logPath);
  }

  get pid(): number {
    return this.#process.pid;
  }

  get running(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  url(path: string): string {
    return `http://localhost:${this.port}${path}`;
  }

  /**
   * Waits until it has its partitions and its database.
   * @throws FatalError with its last lines when it ends first, or takes too long
   */
  async untilReady(): Promise<void> {
    const deadlineMs = performance.now() + READY_DEADLINE_MS;
    while (this.running) {
      const answer = await fetch(`http://${HOST}:${this.port}/readyz`).catch(() => undefined);
      if (answer?.ok) return;
      if (performance.now() > deadlineMs) {
        const reasons = (await answer?.text()) ?? "it does not answer";
        throw new FatalError(`the consumer is not ready after a minute: ${reasons}\n${this.tail()}`);
      }
      await Bun.sleep(READY_POLL_MS);
    }
    throw await this.whyEnded();
  }

  /** Says why it is gone, with its last lines. */
  async whyEnded(): Promise<FatalError> {
    const { exitCode, signal } = await this.ended;
    const how = signal === null ? `ended with exit code ${exitCode}` : `was ended by ${signal}`;
    return new FatalError(`the consumer process ${how}. Its last lines:\n${this.tail()}`);
  }

  /**
   * Has it commit what it holds and end.
   * @throws FatalError when it does not end in time, or not with 0
   */
  async drain(deadlineMs: number): Promise<void> {
    this.#process.kill("SIGTERM");
    const end = await Promise.race([this.ended, Bun.sleep(deadlineMs)]);
    if (end === undefined) {
      throw new FatalError(
        `the consumer did not drain within ${deadlineMs / 1000} s. Its last lines:\n${this.tail()}`,
      );
    }
    if (end.exitCode !== 0) throw await this.whyEnded();
  }

  /** Its last lines, readable and indented. */
  tail(): string {
    const lines = readFileSync(this.logPath, "utf8").trimEnd().split("\n").slice(-TAIL_LINES);
    return lines.map((line) => `  ${readable(line)}`).join("\n");
  }

  /** Ends it at once. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.running) this.#process.kill("SIGKILL");
    await this.ended;
  }
}

/** A line of JSON as a person would write it: time, level, message. */
export function readable(line: string): string {
  try {
    const { time, level, msg, ...fields }: Record<string, unknown> = JSON.parse(line);
    if (typeof msg !== "string") return line;
    const error = fields["err"];
    const detail =
      typeof error === "object" && error !== null && "message" in error ? `: ${String(error.message)}` : "";
    return `${String(time).slice(11, 23)} ${String(level).padEnd(5)} ${msg}${detail}`;
  } catch {
    return line;
  }
}

/** Whether the consumer could listen there. */
