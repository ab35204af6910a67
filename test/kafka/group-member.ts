// A topic in; a consumer that polls by itself, and all that it was given, out.
import type { TopicPartition, TopicPartitionOffset } from "../../shared/event.ts";
import type { Settings } from "../../shared/kafka/client.ts";
import { type ConsumerEvent, KafkaConsumer } from "../../shared/kafka/consumer.ts";
import { RecordBlock } from "../../shared/pipeline/record-block.ts";
import { type EventuallyOptions, eventually } from "../support/eventually.ts";
import { type KafkaUnderTest } from "./kafka-variants.ts";

export interface Received extends TopicPartitionOffset {
  readonly key: string | undefined;
  readonly value: string | undefined;
  readonly headers: string | undefined;
}

export interface MemberOptions {
  readonly topics: readonly string[];
  readonly group?: string;
  readonly passThrough?: Settings;
  /** Where to begin; undefined leaves the partition owned and not fetched. Default: the beginning. */
  readonly startAt?: (partition: TopicPartition) => number | undefined;
  /** False leaves the rebalances for the test to answer, until `answers` is set. */
  readonly answers?: boolean;
  /** Called for every record at once, before anything else is polled. */
  readonly onRecord?: (record: Received) => void;
  readonly maxRecords?: number;
}

/** A member of a group, polled whenever it has something. */
export class Member {
  readonly events: ConsumerEvent[] = [];
  readonly records: Received[] = [];
  readonly owned = new Set<string>();
  /** Records of partitions that were not owned or not meant to be fetched when they came. */
  readonly unowned: Received[] = [];
  polling = true;
  answers: boolean;
  readonly #block: RecordBlock;
  readonly #options: MemberOptions;
  #consumer: KafkaConsumer | undefined;

  private constructor(options: MemberOptions) {
    this.#options = options;
    this.answers = options.answers ?? true;
    this.#block = new RecordBlock(options.maxRecords ?? 1000);
  }

  static async open(kafka: KafkaUnderTest, options: MemberOptions): Promise<Member> {
    const member = new Member(options);
    member.#consumer = await KafkaConsumer.open({
      settings: kafka.consumerSettings(options.group ?? `group-${crypto.randomUUID()}`, options.passThrough),
      topics: options.topics,
      onWake: () => member.poll(),
    });
    return member;
  }

  get consumer(): KafkaConsumer {
    if (this.#consumer === undefined) throw new Error("not open");
    return this.#consumer;
  }

  /** Takes all there is. */
  poll(): void {
    if (!this.polling || this.#consumer === undefined) return;
    for (;;) {
      const event = this.consumer.poll(this.#block);
      const came = this.#block.count;
      this.#take();
      if (event) this.#handle(event);
      else if (came === 0) return;
    }
  }

  /** Waits for what `poll` will bring. */
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

  /** The events of a kind, in their order. */
  of<Kind extends ConsumerEvent["kind"]>(kind: Kind): Extract<ConsumerEvent, { kind: Kind }>[] {
    return this.events.filter(
      (event): event is Extract<ConsumerEvent, { kind: Kind }> => event.kind === kind,
    );
  }

  values(): (string | undefined)[] {
    return this.records.map(({ value }) => value);
  }

  /** Answers the oldest rebalance that the test left open. */
  acknowledgeAssign(startAt: (partition: TopicPartition) => number | undefined = () => -2): void {
    const event = this.of("assign").at(-1);
    if (event === undefined) throw new Error("no assign event came");
    for (const partition of event.partitions) this.owned.add(nameOf(partition));
    this.consumer.acknowledgeAssign(placed(event.partitions, startAt));
  }

  acknowledgeRevoke(): void {
    const event = this.of("revoke").at(-1);
    if (event === undefined) throw new Error("no revoke event came");
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
        headers: block.headers.get(i)?.toString(),
      };
      this.records.push(record);
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

function placed(
  partitions: readonly TopicPartition[],
  startAt: (partition: TopicPartition) => number | undefined,
): TopicPartitionOffset[] {
  return partitions.flatMap((partition) => {
    const offset = startAt(partition);
    return offset === undefined ? [] : [{ ...partition, offset }];
  });
}
