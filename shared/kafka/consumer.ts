// Reads the records of a group's topics into blocks, and reports what happens to the partitions as events.
import type { TopicPartition, TopicPartitionOffset } from "../event.ts";
import type { RecordBlock } from "../pipeline/record-block.ts";
import { AdminRequests } from "./admin-requests.ts";
import { Client, type Settings } from "./client.ts";
import { closeConsumer, type ConsumerParts } from "./close-consumer.ts";
import { type ConsumerEvent, readConsumerEvent } from "./consumer-event.ts";
import { EventType, LogicalOffset } from "./ffi/bindings.ts";
import type { Library } from "./ffi/library.ts";
import { type Pointer, pointer } from "./ffi/memory.ts";
import { MessageReader } from "./ffi/message-reader.ts";
import { readPartitions, type StartPosition } from "./ffi/partition-list.ts";
import { LibrdkafkaAssignment } from "./librdkafka-assignment.ts";
import { listOffsets } from "./list-offsets.ts";
import { PartitionTable } from "./partition-table.ts";
import { QueueEvents } from "./queue-events.ts";
import { keepsPlace } from "./settings.ts";
import { type TopicIdOptions, TopicIds } from "./topic-ids.ts";
import { TopicInquiry } from "./topic-inquiry.ts";

/** Where to start fetching a partition. */
export type FetchStart = TopicPartition & StartPosition;

export interface ConsumerOptions extends TopicIdOptions {
  readonly settings: Settings;
  readonly topics: readonly string[];
  /** Called when there is something to poll, from the event loop. */
  readonly onWake: () => void;
}

const REQUEST_TIMEOUT_MS = 5000;

/** One member of a consumer group. Its owner polls it when `onWake` is called, answers rebalances, and closes it. */
export class KafkaConsumer {
  readonly #parts: ConsumerParts;
  readonly #library: Library;
  readonly #table: PartitionTable;
  readonly #topicIds: TopicIds;
  readonly #messages: MessageReader;
  #closing: Promise<void> | undefined;

  private constructor(
    client: Client,
    events: Pointer,
    topics: readonly Pointer[],
    table: PartitionTable,
    queueEvents: QueueEvents,
    options: ConsumerOptions,
  ) {
    const records = pointer(client.library.c.rd_kafka_queue_new(client.handle), "rd_kafka_queue_new");
    const assignment = new LibrdkafkaAssignment(client, table, records);
    const requests = new AdminRequests(client);
    const held = { client, events, records, topics, assignment, requests, queueEvents };
    this.#parts = { ...held, keepsPlace: keepsPlace(options.settings) };
    this.#library = client.library;
    this.#table = table;
    this.#messages = new MessageReader(client.library);
    this.#topicIds = new TopicIds(new TopicInquiry(client, requests), options);
    for (const queue of [events, records, requests.queue]) queueEvents.watch(queue);
  }

  /**
   * Joins the group without blocking: a broker that cannot be reached is reported as an error event.
   * @throws ConfigurationError for settings that librdkafka refuses
   */
  static async open(options: ConsumerOptions): Promise<KafkaConsumer> {
    const { settings, topics, onWake } = options;
    const client = Client.create("consumer", settings, EventType.rebalance | EventType.offsetCommit);
    const { library, handle } = client;
    const { c } = library;
    c.rd_kafka_poll_set_consumer(handle);
    const table = new PartitionTable();
    // Holding a topic pins its address, by which the table recognizes the topic of a record.
    const handles = topics.map((topic) => {
      const at = pointer(c.rd_kafka_topic_new(handle, topic, null), "rd_kafka_topic_new");
      table.addTopic(Number(at), topic);
      return at;
    });
    const events = pointer(c.rd_kafka_queue_get_consumer(handle), "rd_kafka_queue_get_consumer");
    const queueEvents = await QueueEvents.open(library, onWake);
    const consumer = new KafkaConsumer(client, events, handles, table, queueEvents, options);
    try {
      consumer.#subscribe(topics);
    } catch (error) {
      await consumer.close(0);
      throw error;
    }
    return consumer;
  }

  /**
   * Returns the next event, if there is one; else appends records to the block until the block is full, there are no
   * more, or an error of a partition comes. So an event waits behind no record. The caller polls again until a call
   * brings neither records nor an event; only after that call is `onWake` called again.
   * While a rebalance waits for its answer, a poll only settles promises.
   *
   * @param block undefined: no records are taken
   */
  poll(block: RecordBlock | undefined): ConsumerEvent | undefined {
    if (this.#closing) return undefined;
    const { client, events, records, assignment, requests } = this.#parts;
    requests.poll();
    if (assignment.unanswered === undefined) assignment.validate();
    while (assignment.unanswered === undefined) {
      const event =
        this.#library.nextEvent(events) ?? (block && this.#messages.takeRecords(records, block, this.#table));
      if (event === undefined) return undefined;
      const read = readConsumerEvent(client, assignment, event);
      if (read !== undefined) return read;
    }
    return undefined;
  }

  /** The partition of a record, by its slot in the block. */
  topicPartition(slot: number): TopicPartition {
    return this.#table.topicPartition(slot);
  }

  /** The slot of a partition's records; it does not change while this consumer lives. */
  slot(partition: TopicPartition): number {
    return this.#table.slot(partition);
  }

  /**
   * Answers an "assign" event.
   * @param fetch the partitions to fetch at once; the others are owned and wait for `fetch`
   */
  acknowledgeAssign(fetch: readonly FetchStart[]): void {
    if (!this.#closing) this.#parts.assignment.acknowledgeAssign(this.#startsOf(fetch));
  }

  /** Answers a "revoke" event. After it no record of these partitions comes. */
  acknowledgeRevoke(): void {
    if (!this.#closing) this.#parts.assignment.acknowledgeRevoke();
  }

  /**
   * Starts fetching partitions, or moves those that are fetched already. Partitions that the group has not given us, or
   * has taken, are left out. While a rebalance waits for its answer, this takes effect after the answer.
   *
   * Where the leader epoch is given, the leader is asked first whether its log still holds the last record below the
   * offset; if not, nothing is fetched and a "truncated" event comes.
   */
  fetch(partitions: readonly FetchStart[]): void {
    const starts = this.#startsOf(partitions);
    if (!this.#closing) this.#parts.assignment.start(starts);
  }

  /** Stops fetching partitions, which stay owned. None of their records comes until `fetch`. */
  stop(partitions: readonly TopicPartition[]): void {
    if (!this.#closing) this.#parts.assignment.stop(partitions.map((partition) => this.slot(partition)));
  }

  /**
   * Leaves the group and joins it again, so that the group assigns all partitions again. Ours go and come by "revoke" and
   * "assign" events. While a rebalance is under way, librdkafka only follows that one.
   */
  rejoin(): void {
    if (this.#closing) return;
    this.#library.c.rd_kafka_unsubscribe(this.#parts.client.handle);
    this.#subscribe(this.#table.topics);
  }

  /** True while the group counts this consumer as a member, also one that it gives no partitions. */
  isMember(): boolean {
    // The generation of the classic protocol, the member epoch of KIP-848; both begin at 1.
    return !this.#closing && this.#library.groupGeneration(this.#parts.client.handle) > 0;
  }

  /** The offset after the last one polled, control records included; undefined before the first. */
  position(partition: TopicPartition): number | undefined {
    if (this.#closing) return undefined;
    const { library, handle } = this.#parts.client;
    return library.withPartitions([partition], (list) => {
      library.c.rd_kafka_position(handle, list);
      const [entry] = readPartitions(list);
      return entry !== undefined && entry.offset >= 0 ? entry.offset : undefined;
    });
  }

  /** Commits the group's offsets to Kafka, for lag tools. The result is a "committed" event. */
  commit(offsets: readonly TopicPartitionOffset[]): void {
    if (this.#closing || offsets.length === 0) return;
    const { client, events } = this.#parts;
    const { library, handle } = client;
    library.withPartitions(offsets, (list) => {
      const code = library.c.rd_kafka_commit_queue(handle, list, events, null, null);
      library.check(code, "offsets cannot be committed");
    });
  }

  /**
   * The beginning or the stable end (what a read_committed reader can reach) of partitions, in the order of the
   * argument; undefined where the broker reports an error. Resolves in `poll`; rejects when no broker answers.
   */
  async listOffsets(
    partitions: readonly TopicPartition[],
    which: "beginning" | "end",
  ): Promise<(number | undefined)[]> {
    this.#throwWhenClosed();
    const { client, requests } = this.#parts;
    return listOffsets(client, requests, partitions, which, REQUEST_TIMEOUT_MS);
  }

  /**
   * The ids of the topics that have one: base64url, or that of the cluster for `topicsWithoutId`. Resolves in `poll`;
   * rejects when no broker answers.
   */
  async topicIds(topics: readonly string[]): Promise<Map<string, string>> {
    this.#throwWhenClosed();
    return this.#topicIds.of(topics, this.#messages.lastBroker);
  }

  /**
   * Leaves the group, unless the member keeps its place there, and frees everything. After the deadline it stops waiting
   * for the group's coordinator, and frees the rest in the background.
   */
  close(deadlineMs: number): Promise<void> {
    this.#closing ??= closeConsumer(this.#parts, deadlineMs);
    return this.#closing;
  }

  #subscribe(topics: readonly string[]): void {
    const { library, handle } = this.#parts.client;
    const unassigned = topics.map((topic) => ({ topic, partition: -1 }));
    library.withPartitions(unassigned, (list) =>
      library.check(library.c.rd_kafka_subscribe(handle, list), `cannot subscribe to ${topics.join(", ")}`),
    );
  }

  #throwWhenClosed(): void {
    if (this.#closing) throw new Error("the consumer was closed");
  }

  /** Starts by slot. @throws RangeError for an offset that is neither a place in a log nor its beginning or end */
  #startsOf(partitions: readonly FetchStart[]): Map<number, StartPosition> {
    const starts = new Map<number, StartPosition>();
    for (const partition of partitions) {
      const { offset, leaderEpoch } = partition;
      const logical = offset === LogicalOffset.beginning || offset === LogicalOffset.end;
      if (!logical && !(Number.isSafeInteger(offset) && offset >= 0)) {
        throw new RangeError(`${partition.topic} [${partition.partition}] cannot be fetched at ${offset}`);
      }
      starts.set(this.slot(partition), { offset, leaderEpoch });
    }
    return starts;
  }
}
