// Finds the offset at which each owned partition is read, from the database and the bounds of the log.

import type { Assignment, OwnedPartition } from "./assignment.ts";
import type { KafkaConsumer } from "../../shared/kafka/consumer.ts";
import type { KafkaConfig } from "../../shared/config/config.ts";
import { assertStillOurs } from "../../shared/store/database-owner.ts";
import { enterPartitions, offsetKey, readOffsets, skipGap } from "../../shared/store/offsets.ts";
import type { Session } from "../../shared/store/session.ts";
import type { WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";
import { classifyFailure, ResyncNeeded } from "./failure.ts";
import type { PartitionStatus } from "./thread-messages.ts";

const WATCH_INTERVAL_MS = 2000;

/** Only this class asks Kafka for log bounds and the database for offsets, and starts fetching partitions. */
export class PartitionOffsets {
  readonly #kafkaConfig: KafkaConfig;
  readonly #kafka: KafkaConsumer;
  readonly #assignment: Assignment;
  readonly #telemetry: WorkerTelemetry;
  #watchTimer: Timer | undefined;
  #isWatching = false;
  #fault: string | undefined;

  constructor(
    kafkaConfig: KafkaConfig,
    kafka: KafkaConsumer,
    assignment: Assignment,
    telemetry: WorkerTelemetry,
  ) {
    this.#kafkaConfig = kafkaConfig;
    this.#kafka = kafka;
    this.#assignment = assignment;
    this.#telemetry = telemetry;
  }

  /** Why Kafka did not report the ends of the logs the last time; undefined if it did. */
  get fault(): string | undefined {
    return this.#fault;
  }

  status(): PartitionStatus[] {
    return this.#assignment.all().map((owned) => ({
      topic: owned.topic,
      partition: owned.partition,
      state: owned.state.kind,
      storedOffset: owned.lastStored,
      endOffset: owned.end,
      lag: this.#lagOf(owned),
    }));
  }

  /**
   * Reads the ends of the logs every two seconds, and checks that the topics are still the same.
   * @param onResync is called when a topic was deleted and created again
   */
  startWatching(onResync: (error: ResyncNeeded) => void): void {
    this.#watchTimer = setInterval(() => void this.#watch(onResync), WATCH_INTERVAL_MS);
  }

  stopWatching(): void {
    clearInterval(this.#watchTimer);
    this.#watchTimer = undefined;
  }

  async #watch(onResync: (error: ResyncNeeded) => void): Promise<void> {
    if (this.#isWatching) return;
    this.#isWatching = true;
    try {
      await this.#readEnds();
      await this.assertSameTopics();
      this.#fault = undefined;
    } catch (error) {
      if (error instanceof ResyncNeeded) onResync(error);
      else if (this.#watchTimer !== undefined) {
        this.#fault = classifyFailure(error).message;
        this.#telemetry.kafkaError("watch", this.#fault);
      }
    } finally {
      this.#isWatching = false;
    }
  }

  /**
   * Reads the stored offsets of the partitions that await them, and starts fetching there. A partition that was never
   * read starts at the beginning of its log.
   *
   * @returns false if some have to wait, because their topic has no id or their log no beginning at the moment
   */
  async startFetchingAt(session: Session): Promise<boolean> {
    const ids = await this.#kafka.topicIds(this.#kafkaConfig.topics);
    const all = this.#assignment.in("awaiting_offset");
    const awaiting = all.flatMap((owned) => {
      const topicId = ids.get(owned.topic);
      return topicId === undefined
        ? []
        : [{ owned, topic: owned.topic, partition: owned.partition, topicId }];
    });
    if (awaiting.length === 0) return false;
    await session.run((sql) => assertStillOurs(sql, this.#kafkaConfig.consumerGroup));
    let offsets = await session.run((sql) => readOffsets(sql, awaiting));
    const unknown = awaiting.filter((key) => !offsets.has(offsetKey(key)));
    if (unknown.length > 0) {
      const beginnings = await this.#kafka.listOffsets(unknown, "beginning");
      const starts = unknown.flatMap(({ topic, topicId, partition }, index) => {
        const nextOffset = beginnings[index];
        return nextOffset === undefined ? [] : [{ topic, topicId, partition, nextOffset }];
      });
      await session.run((sql) => enterPartitions(sql, starts));
      offsets = await session.run((sql) => readOffsets(sql, awaiting));
    }
    const placed = awaiting.flatMap(({ owned, ...key }) => {
      const stored = offsets.get(offsetKey(key));
      // It may have been revoked, and even assigned again, while the offsets were read.
      const isCurrent = this.#isOwned(owned) && owned.state.kind === "awaiting_offset";
      return stored === undefined || !isCurrent
        ? []
        : [this.#assignment.startFetchingAt(owned, key.topicId, stored)];
    });
    this.#kafka.fetch(placed);
    return placed.length === all.length;
  }

  /**
   * Handles partitions whose log does not hold their offset. Records that Kafka deleted before they were read are
   * skipped and accounted for; an offset past the end waits.
   */
  async settleOutOfRange(session: Session): Promise<void> {
    const outOfRange = this.#assignment.in("out_of_range");
    await this.assertSameTopics();
    const beginnings = await this.#kafka.listOffsets(outOfRange, "beginning");
    const ends = await this.#kafka.listOffsets(outOfRange, "end");
    for (const [index, owned] of outOfRange.entries()) {
      const beginning = beginnings[index];
      const end = ends[index];
      const { state } = owned;
      if (state.kind !== "out_of_range" || !this.#isOwned(owned)) continue;
      const name = `${owned.topic}[${owned.partition}]`;
      if (beginning === undefined || end === undefined) {
        throw new ResyncNeeded("kafka", `${name}: Kafka does not report the bounds of its log`);
      }
      if (state.stored > end) {
        this.#assignment.markBeyondEnd(owned);
        this.#telemetry.beyondEnd(owned.topic, owned.partition, state.stored, end);
        continue;
      }
      const start = Math.max(state.stored, beginning);
      if (start > state.stored) {
        const from = { ...owned, topicId: state.topicId, nextOffset: state.stored };
        if (!(await session.run((sql) => skipGap(sql, from, start)))) {
          throw new ResyncNeeded("fence", `${name}: the stored offset was moved by another worker`);
        }
        this.#telemetry.gapSkipped(owned.topic, owned.partition, state.stored, start);
      }
      if (this.#isOwned(owned))
        this.#kafka.fetch([this.#assignment.startFetchingAt(owned, state.topicId, start)]);
    }
  }

  /** Reads the ends of the logs: for lag, and for partitions that wait for their log to grow. */
  async #readEnds(): Promise<void> {
    const partitions = this.#assignment.all();
    const ends = await this.#kafka.listOffsets(partitions, "end");
    for (const [index, owned] of partitions.entries()) {
      if (!this.#isOwned(owned)) continue;
      owned.end = ends[index] ?? owned.end;
      this.#telemetry.lag(owned.topic, owned.partition, this.#lagOf(owned));
      const { state } = owned;
      if (state.kind === "beyond_end" && owned.end !== undefined && owned.end >= state.stored) {
        this.#kafka.fetch([this.#assignment.startFetchingAt(owned, state.topicId, state.stored)]);
      }
    }
    const paused = this.#assignment.all().filter(({ state }) => state.kind !== "fetching");
    this.#telemetry.pausedPartitions(paused.length);
  }

  /** @throws ResyncNeeded if a topic was deleted and created again under its name */
  async assertSameTopics(): Promise<void> {
    const current = await this.#kafka.topicIds(this.#kafkaConfig.topics);
    for (const { topic, state } of this.#assignment.all()) {
      const id = current.get(topic);
      if (state.kind === "awaiting_offset" || id === undefined || id === state.topicId) continue;
      throw new ResyncNeeded(
        "topic_changed",
        `topic ${topic} was deleted and created again (id ${state.topicId}, now ${id}); reading it from its beginning`,
      );
    }
  }

  /** Records that are not stored yet. Control records lie below the position and do not count. */
  #lagOf(owned: OwnedPartition): number | undefined {
    if (owned.end === undefined || owned.lastStored === undefined) return undefined;
    const position = owned.state.kind === "fetching" ? (this.#kafka.position(owned) ?? 0) : 0;
    return Math.max(0, owned.end - Math.max(position, owned.lastStored));
  }

  #isOwned(owned: OwnedPartition): boolean {
    return this.#assignment.get(owned.slot) === owned;
  }
}
