// Models the fetcher of one partition: it reads the log in chunks of any size, ahead of what is polled.

import type { TopicPartition } from "../../../shared/event.ts";
import type { ConsumerEvent } from "../../../shared/kafka/consumer.ts";
import type { Scheduler, Timer } from "../postgres/scheduler.ts";
import type { KafkaCluster, SimulatedTopic } from "./kafka-cluster.ts";
import type { LogEntry } from "./partition-log.ts";

/** How often a leader that is away is looked for, ms. */
const LEADER_RETRY_MS = 200;
/** How often an unreadable batch is tried again, ms. */
const UNREADABLE_RETRY_MS = 500;
const MAX_CHUNK = 12;

interface Receiver {
  readonly onEntries: (entries: readonly LogEntry[]) => void;
  readonly onEvent: (event: ConsumerEvent) => void;
  /** False while the member's queue is full. */
  readonly hasRoom: () => boolean;
}

export class FetchedPartition {
  readonly #partition: TopicPartition;
  readonly #cluster: KafkaCluster;
  readonly #process: Scheduler;
  readonly #receiver: Receiver;
  /** A fetch names the topic by its id: of another incarnation nothing is read. */
  readonly #topic: SimulatedTopic | undefined;
  #position: number;
  #timer: Timer | undefined;
  #hasEnded = false;

  constructor(
    partition: TopicPartition,
    offset: number,
    { cluster, process }: { readonly cluster: KafkaCluster; readonly process: Scheduler },
    receiver: Receiver,
  ) {
    this.#partition = partition;
    this.#position = offset;
    this.#cluster = cluster;
    this.#process = process;
    this.#receiver = receiver;
    this.#topic = cluster.topic(partition.topic);
    this.#plan(0.2 + process.random() * 3);
  }

  /** Nothing more is fetched. */
  end(): void {
    this.#hasEnded = true;
    this.#timer?.cancel();
  }

  #plan(ms: number): void {
    this.#timer = this.#process.after(ms, () => this.#fetch());
  }

  #fetch(): void {
    if (this.#hasEnded || this.#cluster.topic(this.#partition.topic) !== this.#topic) return;
    const log = this.#cluster.log(this.#partition);
    if (log === undefined || !log.hasLeader) return this.#plan(LEADER_RETRY_MS);
    if (!this.#receiver.hasRoom()) return this.#plan(5);
    const from = this.#position;
    const { topic, partition } = this.#partition;
    if (from < log.beginning || from > log.end) {
      // Reported once; then the fetcher stands still.
      return this.#receiver.onEvent({ kind: "out_of_range", topic, partition, offset: from });
    }
    if (log.unreadableOffset === from) {
      const reason = "its records are compressed with a codec that this librdkafka lacks";
      this.#receiver.onEvent({ kind: "unreadable", topic, partition, offset: from, reason });
      return this.#plan(UNREADABLE_RETRY_MS);
    }
    const to = Math.min(log.stableEnd, log.unreadableOffset ?? Infinity, from + this.#chunk());
    if (to <= from) return log.onChange(() => this.#plan(0.2 + this.#process.random() * 2));
    this.#position = to;
    this.#receiver.onEntries(log.entries.slice(from - log.firstOffset, to - log.firstOffset));
    this.#plan(0.1 + this.#process.random() * 4);
  }

  #chunk(): number {
    return 1 + Math.floor(this.#process.random() * MAX_CHUNK);
  }
}
