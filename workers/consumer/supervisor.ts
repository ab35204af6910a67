// Starts the worker threads, merges their reports, drains them, and notices when one dies or hangs.

import type { Config } from "../../shared/config/config.ts";
import type { Logger } from "../../shared/telemetry/log.ts";
import type { MetricsRegistry } from "../../shared/telemetry/registry.ts";
import { Heartbeat, HUNG_SECONDS, TICK_MS } from "./heartbeat.ts";
import type { PartitionStatus, WorkerCommand, WorkerReport, WorkerStatus } from "./thread-messages.ts";
import type { WorkerSnapshot } from "./health.ts";

/** The longest transaction (30 s) and leaving the group (5 s), with a margin. */
export const DRAIN_DEADLINE_MS = 40_000;

interface Thread {
  readonly worker: number;
  readonly handle: Worker;
  readonly ended: PromiseWithResolvers<void>;
  readonly heartbeat: Heartbeat;
  status: WorkerStatus | undefined;
  hasEnded: boolean;
}

/** The worker threads of one consumer process. */
export class Supervisor {
  /** Resolves with the reason when a worker ends without a request to drain, or hangs. */
  readonly failed: Promise<string>;
  readonly #threads: Thread[];
  readonly #log: Logger;
  readonly #metrics: MetricsRegistry;
  readonly #fail: (reason: string) => void;
  readonly #drainProblems: string[] = [];
  readonly #timer: Timer;
  #isDraining = false;

  constructor(config: Config, log: Logger, metrics: MetricsRegistry, topicsWithoutId: readonly string[]) {
    this.#log = log;
    this.#metrics = metrics;
    const { promise, resolve } = Promise.withResolvers<string>();
    this.failed = promise;
    this.#fail = resolve;
    this.#threads = Array.from({ length: config.consumer.workers }, (_, worker) =>
      this.#start({ kind: "start", worker, config, topicsWithoutId }),
    );
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /** Every running worker with its last report. */
  workers(): WorkerSnapshot[] {
    return this.#threads
      .filter(({ hasEnded }) => !hasEnded)
      .map(({ worker, status, heartbeat }) => ({ worker, status, isSilent: heartbeat.isSilent }));
  }

  /** All partitions of this process, by topic and number. */
  partitions(): PartitionStatus[] {
    return this.#threads
      .flatMap(({ status }) => status?.partitions ?? [])
      .toSorted((a, b) => a.topic.localeCompare(b.topic) || a.partition - b.partition);
  }

  /** Makes the worker with the fewest partitions join its group again. @returns which; undefined while none runs */
  rejoin(): number | undefined {
    const owned = ({ status }: Thread): number => status?.partitions.length ?? 0;
    const [thread] = this.#threads
      .filter(({ hasEnded }) => !hasEnded)
      .toSorted((a, b) => owned(a) - owned(b));
    if (thread === undefined || this.#isDraining) return undefined;
    send(thread, { kind: "rejoin" });
    return thread.worker;
  }

  /**
   * Makes every worker commit what it has read and leave the group.
   * @returns what went wrong, one sentence each; the records concerned will be read again
   */
  async drain(): Promise<string[]> {
    this.#isDraining = true;
    for (const thread of this.#threads) send(thread, { kind: "drain" });
    const all = Promise.all(this.#threads.map(({ ended }) => ended.promise));
    await Promise.race([all, Bun.sleep(DRAIN_DEADLINE_MS)]);
    clearInterval(this.#timer);
    const late = this.#threads.filter(({ hasEnded }) => !hasEnded);
    return [...this.#drainProblems, ...late.map(({ worker }) => `worker ${worker} did not drain in time`)];
  }

  #start(command: WorkerCommand & { readonly kind: "start" }): Thread {
    const { worker } = command;
    const handle = new Worker(new URL("./worker-thread.ts", import.meta.url).href);
    const thread: Thread = {
      worker,
      handle,
      ended: Promise.withResolvers<void>(),
      heartbeat: new Heartbeat(),
      status: undefined,
      hasEnded: false,
    };
    handle.addEventListener("message", ({ data }: MessageEvent<WorkerReport>) =>
      this.#onReport(thread, data),
    );
    handle.addEventListener("error", (event: ErrorEvent) => this.#onEnd(thread, event.message));
    handle.addEventListener("close", () => this.#onEnd(thread, "the thread ended"));
    send(thread, command);
    return thread;
  }

  #onReport(thread: Thread, report: WorkerReport): void {
    thread.heartbeat.heard();
    if (report.kind === "ended") {
      this.#onEnd(thread, report.failure);
      return;
    }
    if (report.recording !== undefined) this.#metrics.merge(report.recording, String(thread.worker));
    if (report.status !== undefined) thread.status = report.status;
  }

  #tick(): void {
    for (const thread of this.#threads) {
      if (thread.heartbeat.tick()) this.#onEnd(thread, `no sign of life for ${HUNG_SECONDS} s`, "hangs");
    }
  }

  /** @param failure undefined where the thread has released everything without one */
  #onEnd(thread: Thread, failure: string | undefined, what: "has ended" | "hangs" = "has ended"): void {
    if (thread.hasEnded) return;
    thread.hasEnded = true;
    thread.status = undefined;
    this.#metrics.dropSource(String(thread.worker));
    thread.ended.resolve();
    if (this.#isDraining) {
      if (failure !== undefined)
        this.#drainProblems.push(`worker ${thread.worker} did not drain: ${failure}`);
      return;
    }
    const reason = `worker ${thread.worker} ${what}: ${failure ?? "the thread ended"}`;
    this.#log.error({ worker: thread.worker }, reason);
    this.#fail(reason);
  }
}

function send({ handle }: Thread, command: WorkerCommand): void {
  handle.postMessage(command);
}
