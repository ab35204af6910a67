// Opens the product's consumer as a member of a group, polls it, and collects what it delivers.
import type { TopicPartition, TopicPartitionOffset } from "../../shared/event.ts";
import type { StartPosition } from "../../shared/kafka/ffi/partition-list.ts";
import type { Settings } from "../../shared/kafka/client.ts";
import type { ConsumerEvent } from "../../shared/kafka/consumer-event.ts";
import { type FetchStart, KafkaConsumer } from "../../shared/kafka/consumer.ts";
import { RecordBlock } from "../../shared/pipeline/record-block.ts";
import { type EventuallyOptions, eventually } from "../support/eventually.ts";
import type { KafkaUnderTest } from "./kafka-variants.ts";

export interface Received extends TopicPartitionOffset {
  readonly key: string | undefined;
  readonly value: string | undefined;
  readonly headers: string | undefined;
}

/** An offset, with or without the leader epoch of the record before it. */
type StartAt = (partition: TopicPartition) => number | StartPosition | undefined;

export interface GroupMemberOptions {
  readonly topics: readonly string[];
  readonly group?: string;
  readonly passThrough?: Settings;
  /** The first offset to fetch; undefined leaves the partition owned and not fetched. Default: the beginning. */
  readonly startAt?: StartAt;
  /** False: the test answers the rebalances, until `answers` is set. */
  readonly answers?: boolean;
  /** Called for every record before the next poll. */
  readonly onRecord?: (record: Received) => void;
  readonly maxRecords?: number;
  readonly onTopicRecreated?: (topic: string) => void;
}

/** A member of a group, polled at every wake-up. */
export class GroupMember {
  readonly events: ConsumerEvent[] = [];
  readonly records: Received[] = [];
  /** Of the records, in their order. */
  readonly leaderEpochs: number[] = [];
  readonly owned = new Set<string>();
  /** Records of partitions that were not owned when the record came. */
  readonly unowned: Received[] = [];
  polling = true;
  answers: boolean;
  readonly #block: RecordBlock;
  readonly #options: GroupMemberOptions;
  #consumer: KafkaConsumer | undefined;

  private constructor(options: GroupMemberOptions) {
    this.#options = options;
    this.answers = options.answers ?? true;
    this.#block = new RecordBlock(options.maxRecords ?? 1000);
  }

  static async open(kafka: KafkaUnderTest, options: GroupMemberOptions): Promise<GroupMember> {
    const member = new GroupMember(options);
    member.#consumer = await KafkaConsumer.open({
      settings: kafka.consumerSettings(options.group ?? `group-${crypto.randomUUID()}`, options.passThrough),
      topics: options.topics,
      onWake: () => member.poll(),
      ...(options.onTopicRecreated && { onTopicRecreated: options.onTopicRecreated }),
    });
    return member;
  }

  get consumer(): KafkaConsumer {
    if (this.#consumer === undefined) throw new Error("the consumer is not open");
    return this.#consumer;
  }

  /** Takes all records and events that are queued. */
  poll(): void {
    if (!this.polling || this.#consumer === undefined) return;
    for (;;) {
      const event = this.consumer.poll(this.#block);
      const taken = this.#block.count;
      this.#take();
      if (event) this.#handle(event);
      else if (taken === 0) return;
    }
  }

  /** Polls until a condition holds. */
  async until(what: string, condition: () => boolean, options?: EventuallyOptions): Promise<void> {
    await eventually(
      what,
      () => {
        this.poll();
        return condition();
      },
      options,
    );
  }

  /** The events of a kind, in order. */
  of<Kind extends ConsumerEvent["kind"]>(kind: Kind): Extract<ConsumerEvent, { kind: Kind }>[] {
    return this.events.filter(
      (event): event is Extract<ConsumerEvent, { kind: Kind }> => event.kind === kind,
    );
  }

  values(): (string | undefined)[] {
    return this.records.map(({ value }) => value);
  }

  /** Answers the last assign event. */
  acknowledgeAssign(startAt: StartAt = () => -2): void {
    const event = this.of("assign").at(-1);
    if (event === undefined) throw new Error("there was no assign event");
    for (const partition of event.partitions) this.owned.add(nameOf(partition));
    this.consumer.acknowledgeAssign(placed(event.partitions, startAt));
  }

  acknowledgeRevoke(): void {
    const event = this.of("revoke").at(-1);
    if (event === undefined) throw new Error("there was no revoke event");
    for (const partition of event.partitions) this.owned.delete(nameOf(partition));
    this.consumer.acknowledgeRevoke();
  }

  async close(deadlineMs = 10_000): Promise<void> {
    await this.#consumer?.close(deadlineMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #take(): void {
    const block = this.#block;
    for (let i = 0; i < block.count; i++) {
      const record = {
        ...this.consumer.topicPartition(block.slot[i]!),
        offset: block.offset[i]!,
        key: block.key(i)?.toString(),
        value: block.value(i)?.toString(),
        headers: block.headers(i)?.toString(),
      };
      this.records.push(record);
      this.leaderEpochs.push(block.leaderEpoch[i]!);
      if (!this.owned.has(nameOf(record))) this.unowned.push(record);
      this.#options.onRecord?.(record);
    }
    block.clear();
  }

  #handle(event: ConsumerEvent): void {
    this.events.push(event);
    if (!this.answers) return;
    if (event.kind === "assign") this.acknowledgeAssign(this.#options.startAt);
    else if (event.kind === "revoke") this.acknowledgeRevoke();
  }
}

export function nameOf({ topic, partition }: TopicPartition): string {
  return `${topic}[${partition}]`;
}

function placed(partitions: readonly TopicPartition[], startAt: StartAt): FetchStart[] {
  return partitions.flatMap((partition) => {
    const start = startAt(partition);
    if (start === undefined) return [];
    return [{ ...partition, ...(typeof start === "number" ? { offset: start } : start) }];
  });
}
