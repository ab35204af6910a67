// Starts the worker threads, merges their reports, drains them, and notices when one dies.

import type { Config } from "../../shared/config/config.ts";
import type { Logger } from "../../shared/telemetry/log.ts";
import type { MetricsRegistry } from "../../shared/telemetry/registry.ts";
import type { PartitionStatus, WorkerCommand, WorkerReport, WorkerStatus } from "./thread-messages.ts";
import type { WorkerSnapshot } from "./health.ts";

/** The longest transaction (30 s) and leaving the group (5 s), with a margin. */
export const DRAIN_DEADLINE_MS = 40_000;

interface Thread {
  readonly worker: number;
  readonly handle: Worker;
  readonly ended: PromiseWithResolvers<void>;
  status: WorkerStatus | undefined;
  hasEnded: boolean;
}

/** The worker threads of one consumer process. */
export class Supervisor {
  /** Resolves with the reason when a worker ends without a request to drain. */
  readonly failed: Promise<string>;
  readonly #threads: Thread[];
  readonly #log: Logger;
  readonly #metrics: MetricsRegistry;
  readonly #fail: (reason: string) => void;
  readonly #drainProblems: string[] = [];
  #isDraining = false;

  constructor(config: Config, log: Logger, metrics: MetricsRegistry) {
    this.#log = log;
    this.#metrics = metrics;
    const { promise, resolve } = Promise.withResolvers<string>();
    this.failed = promise;
    this.#fail = resolve;
    this.#threads = Array.from({ length: config.consumer.workers }, (_, worker) =>
      this.#start(worker, config),
    );
  }

  /** Every running worker with its last report. */
  workers(): WorkerSnapshot[] {
    return this.#threads.filter(({ hasEnded }) => !hasEnded);
  }

  /** All partitions of this process, by topic and number. */
  partitions(): PartitionStatus[] {
    return this.#threads
      .flatMap(({ status }) => status?.partitions ?? [])
      .toSorted((a, b) => a.topic.localeCompare(b.topic) || a.partition - b.partition);
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
    const late = this.#threads.filter(({ hasEnded }) => !hasEnded);
    return [...this.#drainProblems, ...late.map(({ worker }) => `worker ${worker} did not drain in time`)];
  }

  #start(worker: number, config: Config): Thread {
    const handle = new Worker(new URL("./worker-thread.ts", import.meta.url).href);
    const thread: Thread = {
      worker,
      handle,
      ended: Promise.withResolvers<void>(),
      status: undefined,
      hasEnded: false,
    };
    handle.addEventListener("message", ({ data }: MessageEvent<WorkerReport>) =>
      this.#onReport(thread, data),
    );
    handle.addEventListener("error", (event: ErrorEvent) => this.#onEnd(thread, event.message));
    handle.addEventListener("close", () => this.#onEnd(thread, "the thread ended"));
    send(thread, { kind: "start", worker, config });
    return thread;
  }

  #onReport(thread: Thread, report: WorkerReport): void {
    if (report.kind === "ended") {
      if (this.#isDraining && report.failure !== undefined && !thread.hasEnded) {
        this.#drainProblems.push(`worker ${thread.worker} did not drain: ${report.failure}`);
      }
      this.#onEnd(thread, report.failure ?? "the thread ended");
      return;
    }
    if (report.recording !== undefined) this.#metrics.merge(report.recording, String(thread.worker));
    if (report.status !== undefined) thread.status = report.status;
  }

  #onEnd(thread: Thread, reason: string): void {
    if (thread.hasEnded) return;
    thread.hasEnded = true;
    thread.status = undefined;
    this.#metrics.dropSource(String(thread.worker));
    thread.ended.resolve();
    if (this.#isDraining) return;
    this.#log.error({ worker: thread.worker }, `worker ${thread.worker} has ended: ${reason}`);
    this.#fail(`worker ${thread.worker} has ended: ${reason}`);
  }
}

function send({ handle }: Thread, command: WorkerCommand): void {
  handle.postMessage(command);
}
