// Counts and traces what one worker does.

import type { TopicPartition } from "../../shared/event.ts";
import type { ConsumerEvent } from "../../shared/kafka/consumer.ts";
import type { CommitReport } from "../../shared/pipeline/commit.ts";
import type { ResyncCause } from "../../shared/telemetry/worker-telemetry.ts";
import type { Counters } from "./counters.ts";
import type { Trace } from "./trace.ts";

/** A revocation waits this long for the transaction in flight, and no longer. */
const REVOCATION_DEADLINE_MS = 5000;

export class WorkerObserver {
  readonly #name: string;
  readonly #counters: Counters;
  readonly #trace: Trace;
  /** The longest that a revocation has waited for its answer, ms. */
  longestRevocationMs = 0;

  constructor(name: string, counters: Counters, trace: Trace) {
    this.#name = name;
    this.#counters = counters;
    this.#trace = trace;
  }

  resynced(cause: ResyncCause, message: string): void {
    this.#counters.count(`resync: ${cause}`);
    if (cause !== "fence") return;
    const numbers = /the stored offset is (\S+), this batch begins at (\d+)/.exec(message);
    const isTakenBack =
      numbers === null ? message.includes("lost its last") : !(Number(numbers[1]) > Number(numbers[2]));
    this.#counters.count(`fence failed by a ${isTakenBack ? "crash" : "zombie"}`);
  }

  committed({ copyFailed }: CommitReport): void {
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
    if (event.kind === "out_of_range") {
      this.#counters.count("out of range");
      this.#note(`${names([event])} is out of range at ${event.offset}`);
    }
  }

  /** @param waitedMs since the worker has polled the revocation */
  revocationAnswered(waitedMs: number): void {
    this.longestRevocationMs = Math.max(this.longestRevocationMs, waitedMs);
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

  stalled(): void {
    this.#counters.count("stall of a full batch");
    this.#note("stops fetching, its batch is full");
  }

  fetching(partition: TopicPartition, offset: number): void {
    this.#note(`fetches ${names([partition])} from ${offset}`);
  }

  #note(what: string): void {
    this.#trace.note(this.#name, what);
  }
}

function names(partitions: readonly TopicPartition[]): string {
  return partitions.map(({ topic, partition }) => `${topic}[${partition}]`).join(", ") || "nothing";
}
