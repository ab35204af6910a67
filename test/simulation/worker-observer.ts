// Counts and traces what one worker does.

import type { TopicPartition } from "../../shared/event.ts";
import type { ConsumerEvent } from "../../shared/kafka/consumer-event.ts";
import type { Batch } from "../../shared/pipeline/batch.ts";
import type { CommitReport } from "../../shared/pipeline/commit.ts";
import type { ResyncCause } from "../../shared/telemetry/worker-telemetry.ts";
import type { Counters } from "./counters.ts";
import type { Oracle } from "./oracle.ts";
import { MAX_STEPS_BACK_MS } from "./process-clock.ts";
import type { Trace } from "./trace.ts";
import type { Violations } from "./violations.ts";

/** A revocation waits this long for the transaction in flight, and no longer. */
const REVOCATION_DEADLINE_MS = 5000;

/** An event waits behind no record, but its wake-up may be missed; a turn at least this often is the fallback. */
const QUEUED_DEADLINE_MS = 250;
/** For the turns in between. */
const MARGIN_MS = 50;

export interface ObserverOptions {
  readonly counters: Counters;
  readonly trace: Trace;
  readonly violations: Violations;
  readonly oracle: Oracle;
  /** Deadlocks that a fault has made; undefined where others are possible. */
  readonly injectedDeadlocks: () => number | undefined;
}

export class WorkerObserver {
  readonly #name: string;
  readonly #options: ObserverOptions;
  readonly #counters: Counters;

  constructor(name: string, options: ObserverOptions) {
    this.#name = name;
    this.#options = options;
    this.#counters = options.counters;
  }

  resynced(cause: ResyncCause, message: string): void {
    this.#counters.count(`resync: ${cause}`);
    if (cause === "fence") {
      const numbers = /the stored offset is (\S+), this batch begins at (\d+)/.exec(message);
      const isZombie = numbers !== null && Number(numbers[1]) > Number(numbers[2]);
      if (isZombie) this.#counters.count("fence failed by a zombie");
      if (/lost its last transactions|runs in backend/.test(message)) {
        this.#counters.count("fence failed by a crash");
      }
    }
    if (!message.includes("deadlock detected")) return;
    this.#counters.count("deadlock");
    const injected = this.#options.injectedDeadlocks();
    if (injected !== undefined && this.#counters.get("deadlock") > injected) {
      this.#violated(
        "deadlocks with another worker, although no event_id comes twice: rows are locked out of order",
      );
    }
  }

  committed(batch: Batch, { copyFailed }: CommitReport): void {
    for (const span of batch.spans.values()) {
      if (this.#options.oracle.hasCommitted(span)) continue;
      this.#violated(`counts ${names([span])} from ${span.from} to ${span.to}, which was never committed`);
    }
    if (copyFailed) this.#counters.count("COPY repeated as INSERT");
  }

  peersEnded(): void {
    this.#counters.count("stuck peers ended");
  }

  polled(event: ConsumerEvent): void {
    if (event.kind === "assign") this.#note(`is given ${names(event.partitions)}`);
    if (event.kind === "unreadable") this.#counters.count("unreadable batch");
    if (event.kind === "revoke") {
      this.#note(`${event.lost ? "has lost" : "is asked for"} ${names(event.partitions)}`);
    }
    if (event.kind === "truncated")
      this.#note(`${names([event])} was cut at ${event.end ?? "an unknown offset"}`);
    if (event.kind === "out_of_range") {
      this.#counters.count("out of range");
      this.#note(`${names([event])} is out of range at ${event.offset}`);
    }
  }

  /** @param isStarting whether the log was cut before the partition was fetched */
  truncated(isStarting: boolean): void {
    this.#counters.count(`truncation noticed ${isStarting ? "at the start" : "while reading"}`);
  }

  /** @param waitedMs until the worker has polled a rebalance */
  rebalancePolled(waitedMs: number): void {
    if (waitedMs > QUEUED_DEADLINE_MS + MAX_STEPS_BACK_MS + MARGIN_MS) {
      this.#violated(`takes notice of a rebalance after ${Math.round(waitedMs)} ms`);
    }
  }

  /** @param waitedMs since the worker has polled the revocation */
  revocationAnswered(waitedMs: number): void {
    if (waitedMs > REVOCATION_DEADLINE_MS + MAX_STEPS_BACK_MS + MARGIN_MS) {
      this.#violated(`answers a revocation after ${Math.round(waitedMs)} ms`);
    }
    this.#counters.count(`revocation ${waitedMs === 0 ? "without" : "with"} a transaction in flight`);
    if (waitedMs >= REVOCATION_DEADLINE_MS) this.#counters.count("revocation answered at its deadline");
    this.#note("gives them up");
  }

  wakeUpMissed(): void {
    this.#counters.count("wake-up missed");
  }

  answeredEarly(): void {
    this.#counters.count("answer to a queued rebalance given early");
  }

  fetching(partition: TopicPartition, offset: number): void {
    this.#note(`fetches ${names([partition])} from ${offset}`);
  }

  #note(what: string): void {
    this.#options.trace.note(this.#name, what);
  }

  #violated(what: string): void {
    this.#options.violations.note(`${this.#name} ${what}`);
  }
}

function names(partitions: readonly TopicPartition[]): string {
  return partitions.map(({ topic, partition }) => `${topic}[${partition}]`).join(", ") || "nothing";
}
