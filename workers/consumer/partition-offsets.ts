// Owned partitions in; where each is to be read from, by the database's word and the log's bounds, out.

import type { Assignment, OwnedPartition } from "./assignment.ts";
import type { KafkaConsumer } from "../../shared/kafka/consumer.ts";
import type { KafkaConfig } from "../../shared/config/config.ts";
import { assertStillOurs } from "../../shared/store/database-owner.ts";
import { enterPartitions, offsetKey, readOffsets, skipGap } from "../../shared/store/offsets.ts";
import type { Session } from "../../shared/store/session.ts";
import type { WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";
import { ResyncNeeded } from "./failure.ts";

/** The one place that asks Kafka about logs and the database about offsets, and sets partitions going. */
export class LogPositions {
  readonly #kafkaConfig: KafkaConfig;
  readonly #kafka: KafkaConsumer;
  readonly #assignment: Assignment;
  readonly #telemetry: WorkerTelemetry;

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

  /**
   * Reads where the partitions go on that have no offset yet, and starts fetching them there. A partition that
   * was never read is entered at the beginning of its log.
   *
   * @returns false where some have to wait: their topic has no id, or their log no beginning, for the moment
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
      // It may have been revoked, and even assigned anew, while the offsets were read.
      const isCurrent = this.#isOwned(owned) && owned.state.kind === "awaiting_offset";
      return stored === undefined || !isCurrent
        ? []
        : [this.#assignment.startFetchingAt(owned, key.topicId, stored)];
    });
    this.#kafka.fetch(placed);
    return placed.length === all.length;
  }

  /**
   * Looks at the bounds of logs that do not hold the offset that was asked for: what Kafka deleted before it
   * was read is passed over, and accounted for; what lies past the end waits.
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
        throw new ResyncNeeded("kafka", `${name}: Kafka does not say where it begins and ends`);
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

  /** Looks how far the logs reach: for lag, and for partitions that wait for their log to grow. */
  async look(): Promise<void> {
    const partitions = this.#assignment.all();
    const ends = await this.#kafka.listOffsets(partitions, "end");
    for (const [index, owned] of partitions.entries()) {
      if (!this.#isOwned(owned)) continue;
      owned.end = ends[index] ?? owned.end;
      this.#telemetry.lag(owned.topic, owned.partition, this.lagOf(owned));
      const { state } = owned;
      if (state.kind === "beyond_end" && owned.end !== undefined && owned.end >= state.stored) {
        this.#kafka.fetch([this.#assignment.startFetchingAt(owned, state.topicId, state.stored)]);
      }
    }
    const paused = this.#assignment.all().filter(({ state }) => state.kind !== "fetching");
    this.#telemetry.pausedPartitions(paused.length);
  }

  /** @throws ResyncNeeded where a topic was deleted and made anew under its name */
  async assertSameTopics(): Promise<void> {
    const current = await this.#kafka.topicIds(this.#kafkaConfig.topics);
    for (const { topic, state } of this.#assignment.all()) {
      const id = current.get(topic);
      if (state.kind === "awaiting_offset" || id === undefined || id === state.topicId) continue;
      throw new ResyncNeeded(
        "topic_changed",
        `topic ${topic} was deleted and made anew (id ${state.topicId}, now ${id}); reading it from its beginning`,
      );
    }
  }

  /** Records that are not stored yet. Control records end up below the position, and are no lag. */
  lagOf(owned: OwnedPartition): number | undefined {
    if (owned.end === undefined || owned.lastStored === undefined) return undefined;
    const position = owned.state.kind === "fetching" ? (this.#kafka.position(owned) ?? 0) : 0;
    return Math.max(0, owned.end - Math.max(position, owned.lastStored));
  }

  #isOwned(owned: OwnedPartition): boolean {
    return this.#assignment.get(owned.slot) === owned;
  }
}
