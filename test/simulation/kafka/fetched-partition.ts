// Models the fetcher of one partition: it reads the log in chunks of any size, ahead of what is polled.

import type { TopicPartition } from "../../../shared/event.ts";
import type { ConsumerEvent } from "../../../shared/kafka/consumer-event.ts";
import type { Scheduler, Timer } from "../postgres/scheduler.ts";
import type { StartPosition } from "../../../shared/kafka/ffi/partition-list.ts";
import type { KafkaCluster, SimulatedTopic } from "./kafka-cluster.ts";
import type { LogEntry, PartitionLog } from "./partition-log.ts";

/** How often a leader that is away is looked for, ms. */
const LEADER_RETRY_MS = 200;
/** How often a leader that does not answer is asked again about its log, ms. */
const VALIDATION_RETRY_MS = 500;
/** How often an unreadable batch is tried again, ms. */
const UNREADABLE_RETRY_MS = 500;
/** How long it may take until the metadata of a topic that is not known is read again, ms. */
const METADATA_MS = 1000;
const MAX_CHUNK = 12;

interface Receiver {
  readonly onEntries: (entries: readonly LogEntry[]) => void;
  readonly onEvent: (event: ConsumerEvent) => void;
  /** @param isStarting false where records were read before */
  readonly onTruncated: (isStarting: boolean) => void;
  /** False while the member's queue is full. */
  readonly hasRoom: () => boolean;
}

export class FetchedPartition {
  readonly #partition: TopicPartition;
  readonly #cluster: KafkaCluster;
  readonly #process: Scheduler;
  readonly #receiver: Receiver;
  /** A fetch names the topic by its id. The id of one that was created again comes with the next metadata. */
  #topic: SimulatedTopic | undefined;
  #position: number;
  /** Of the last record below the position, where it is known. */
  #leaderEpoch: number | undefined;
  /** The leader whose log is known to hold what lies below the position; undefined: none yet. */
  #validatedFor: number | undefined;
  #timer: Timer | undefined;
  #hasEnded = false;

  constructor(
    partition: TopicPartition,
    { offset, leaderEpoch }: StartPosition,
    { cluster, process }: { readonly cluster: KafkaCluster; readonly process: Scheduler },
    receiver: Receiver,
  ) {
    this.#partition = partition;
    this.#position = offset;
    this.#leaderEpoch = leaderEpoch;
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
    if (this.#hasEnded) return;
    const topic = this.#cluster.topic(this.#partition.topic);
    if (topic !== this.#topic) {
      // As librdkafka does (rd_kafka_topic_metadata_update), reading goes on at the same offset of the new topic.
      this.#topic = topic;
      return this.#plan(this.#process.random() * METADATA_MS);
    }
    const log = this.#cluster.log(this.#partition);
    if (log === undefined || !log.hasLeader) return this.#plan(LEADER_RETRY_MS);
    if (this.#validatedFor !== log.leaderEpoch) return this.#validate(log);
    if (!this.#receiver.hasRoom()) return this.#plan(5);
    const from = this.#position;
    if (from < log.beginning || from > log.end) {
      // Reported once; then the fetcher stands still.
      return this.#receiver.onEvent({ kind: "out_of_range", ...this.#partition, offset: from });
    }
    if (log.unreadableOffset === from) {
      const reason = "its records are compressed with a codec that this librdkafka lacks";
      this.#receiver.onEvent({ kind: "unreadable", ...this.#partition, offset: from, reason });
      return this.#plan(UNREADABLE_RETRY_MS);
    }
    const to = Math.min(log.stableEnd, log.unreadableOffset ?? Infinity, from + this.#chunk());
    if (to <= from) return log.onChange(() => this.#plan(0.2 + this.#process.random() * 2));
    this.#position = to;
    this.#leaderEpoch = log.at(to - 1)!.leaderEpoch;
    this.#receiver.onEntries(log.entries.slice(from - log.firstOffset, to - log.firstOffset));
    this.#plan(0.1 + this.#process.random() * 4);
  }

  /** Asks a leader that is new to this reader whether its log still holds what was read. */
  #validate(log: PartitionLog): void {
    const leaderEpoch = this.#leaderEpoch;
    if (leaderEpoch === undefined) {
      this.#validatedFor = log.leaderEpoch;
      return this.#plan(0.1 + this.#process.random());
    }
    const ms = this.#cluster.answerMs();
    if (ms === undefined) return this.#plan(VALIDATION_RETRY_MS);
    this.#timer = this.#process.after(ms / 2, () => {
      if (this.#hasEnded || !log.hasLeader) return this.#plan(VALIDATION_RETRY_MS);
      const askedEpoch = log.leaderEpoch;
      const found = log.endOfEpoch(leaderEpoch);
      this.#timer = this.#process.after(ms / 2, () => {
        if (this.#hasEnded) return;
        if (found !== undefined && found.end >= this.#position) {
          this.#validatedFor = askedEpoch;
          return this.#fetch();
        }
        // Reported once; then the fetcher stands still.
        this.#receiver.onTruncated(this.#validatedFor === undefined);
        const endEpoch = found?.leaderEpoch;
        const event = { ...this.#partition, readEpoch: leaderEpoch, end: found?.end, endEpoch };
        this.#receiver.onEvent({ kind: "truncated", ...event });
      });
    });
  }

  #chunk(): number {
    return 1 + Math.floor(this.#process.random() * MAX_CHUNK);
  }
}
