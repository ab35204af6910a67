// Topics of a group in; records packed into blocks out, and what happens to the partitions as events.
import type { TopicPartition, TopicPartitionOffset } from "../event.ts";
import type { RecordBlock } from "../pipeline/record-block.ts";
import { Client, type ErrorReport, type LogLine, type Settings } from "./client.ts";
import { LibrdkafkaAssignment } from "./librdkafka-assignment.ts";
import { type Library, type Pointer, isNull, pointer } from "./ffi/library.ts";
import { listOffsets } from "./list-offsets.ts";
import { PartitionTable } from "./partition-table.ts";
import { AdminRequests } from "./admin-requests.ts";
import { ErrorCode, EventType, LogicalOffset } from "./ffi/bindings.ts";
import { describeTopics } from "./topic-description.ts";
import { QueueEvents } from "./queue-events.ts";

export type ConsumerEvent =
  /** Partitions are ours. Must be answered: `acknowledgeAssign`. */
  | { kind: "assign"; partitions: TopicPartition[] }
  /** Partitions go; `lost`: others may own them already. Must be answered: `acknowledgeRevoke`. */
  | { kind: "revoke"; partitions: TopicPartition[]; lost: boolean }
  /** The offset is not in the log. Comes once; the partition stands still until `fetch` moves it. */
  | { kind: "out_of_range"; topic: string; partition: number; offset: number }
  | ({ kind: "error" } & ErrorReport)
  /** The result of a `commit`. */
  | { kind: "committed"; error: string | undefined }
  | ({ kind: "log" } & LogLine);

export interface ConsumerOptions {
  readonly settings: Settings;
  readonly topics: readonly string[];
  /** Called when there is something to poll, from the event loop. */
  readonly onWake: () => void;
}

/** A block takes no more once it holds this much, however few the records. */
const MAX_BLOCK_BYTES = 16 * 1024 * 1024;
const REQUEST_TIMEOUT_MS = 5000;
const CLOSE_POLL_MS = 2;
const LATE_CLOSE_POLL_MS = 100;

export class KafkaConsumer {
  readonly #client: Client;
  readonly #library: Library;
  readonly #queue: Pointer;
  readonly #topics: readonly Pointer[];
  readonly #table: PartitionTable;
  readonly #requests: AdminRequests;
  readonly #wake: QueueEvents;
  readonly #fetching: LibrdkafkaAssignment;
  #closing: Promise<void> | undefined;

  private constructor(
    client: Client,
    queue: Pointer,
    topics: readonly Pointer[],
    table: PartitionTable,
    wake: QueueEvents,
  ) {
    this.#client = client;
    this.#library = client.library;
    this.#queue = queue;
    this.#topics = topics;
    this.#table = table;
    this.#fetching = new LibrdkafkaAssignment(client, table);
    this.#requests = new AdminRequests(client);
    this.#wake = wake;
    wake.watch(queue);
    wake.watch(this.#requests.queue);
  }

  /**
   * Joins the group. Nothing blocks: brokers that cannot be reached show as error events.
   * @throws ConfigurationError for settings that librdkafka refuses
   */
  static async open({ settings, topics, onWake }: ConsumerOptions): Promise<KafkaConsumer> {
    const client = Client.create("consumer", settings, EventType.rebalance | EventType.offsetCommit);
    const { library, handle } = client;
    const { c } = library;
    c.rd_kafka_poll_set_consumer(handle);
    const table = new PartitionTable();
    // Holding each topic pins its address, by which the table knows the topic of a record.
    const handles = topics.map((topic) => {
      const at = pointer(c.rd_kafka_topic_new(handle, topic, null), "rd_kafka_topic_new");
      table.addTopic(Number(at), topic);
      return at;
    });
    const queue = pointer(c.rd_kafka_queue_get_consumer(handle), "rd_kafka_queue_get_consumer");
    const wake = await QueueEvents.open(library, onWake);
    const consumer = new KafkaConsumer(client, queue, handles, table, wake);
    try {
      const unassigned = topics.map((topic) => ({ topic, partition: -1 }));
      library.withPartitions(unassigned, (list) =>
        library.check(c.rd_kafka_subscribe(handle, list), `cannot subscribe to ${topics.join(", ")}`),
      );
    } catch (error) {
      await consumer.close(0);
      throw error;
    }
    return consumer;
  }

  /**
   * Appends records to the block until it is full or nothing is left, or an event comes. The caller goes on
   * until the block stays empty and no event came; only then will `onWake` be called again.
   * While a rebalance waits for its answer, only promises are served.
   */
  poll(block: RecordBlock): ConsumerEvent | undefined {
    if (this.#closing) return undefined;
    this.#requests.poll();
    while (this.#fetching.unanswered === undefined) {
      const event = this.#library.takeRecords(this.#queue, block, this.#table, MAX_BLOCK_BYTES);
      if (event === undefined) return undefined;
      const read = this.#read(event);
      if (read !== undefined) return read;
    }
    return undefined;
  }

  /** The partition of a record, by its slot in the block. */
  topicPartition(slot: number): TopicPartition {
    return this.#table.topicPartition(slot);
  }

  /** The slot that the records of a partition have, for as long as this consumer lives. */
  slot(partition: TopicPartition): number {
    return this.#table.slot(partition);
  }

  /**
   * Answers an "assign" event.
   * @param fetch the partitions whose offset is known; the others are owned and wait for `fetch`
   */
  acknowledgeAssign(fetch: readonly TopicPartitionOffset[]): void {
    if (!this.#closing) this.#fetching.acknowledgeAssign(this.#placesOf(fetch));
  }

  /** Answers a "revoke" event: no record of these partitions comes any more. */
  acknowledgeRevoke(): void {
    if (!this.#closing) this.#fetching.acknowledgeRevoke();
  }

  /**
   * Starts fetching partitions, or moves those that are fetched already. Those that are not ours (any more)
   * are left out. While a rebalance waits for its answer this takes effect after it.
   */
  fetch(partitions: readonly TopicPartitionOffset[]): void {
    const places = this.#placesOf(partitions);
    if (!this.#closing) this.#fetching.start(places);
  }

  /** Stops fetching partitions, which stay ours. No record of theirs comes until `fetch`. */
  stop(partitions: readonly TopicPartition[]): void {
    if (!this.#closing) this.#fetching.stop(partitions.map((partition) => this.slot(partition)));
  }

  /**
   * True while the group counts this consumer as a member. A member that is given no partitions may never see an
   * "assign" event.
   */
  isMember(): boolean {
    if (this.#closing) return false;
    const { c } = this.#library;
    const metadata = c.rd_kafka_consumer_group_metadata(this.#client.handle);
    if (isNull(metadata)) return false;
    const at = pointer(metadata, "group metadata");
    // The generation of the classic protocol, the member epoch of KIP-848; both begin at 1.
    const generation = c.rd_kafka_consumer_group_metadata_generation_id(at);
    c.rd_kafka_consumer_group_metadata_destroy(at);
    return generation > 0;
  }

  /** The offset after the last one polled, control records included; undefined when nothing was polled yet. */
  position(partition: TopicPartition): number | undefined {
    if (this.#closing) return undefined;
    const { c } = this.#library;
    return this.#library.withPartitions([partition], (list) => {
      c.rd_kafka_position(this.#client.handle, list);
      const [entry] = this.#library.readPartitions(list);
      return entry !== undefined && entry.offset >= 0 ? entry.offset : undefined;
    });
  }

  /** Writes the group's offsets to Kafka, for lag tools. The result is a "committed" event. */
  commit(offsets: readonly TopicPartitionOffset[]): void {
    if (this.#closing || offsets.length === 0) return;
    const { c } = this.#library;
    this.#library.withPartitions(offsets, (list) =>
      this.#library.check(
        c.rd_kafka_commit_queue(this.#client.handle, list, this.#queue, null, null),
        "offsets cannot be committed",
      ),
    );
  }

  /**
   * The beginning or the stable end (what a transaction-aware reader can reach) of partitions, in their order;
   * undefined where the broker gave an error. Resolves in `poll`; rejects when no broker answers.
   */
  async listOffsets(
    partitions: readonly TopicPartition[],
    which: "beginning" | "end",
  ): Promise<(number | undefined)[]> {
    this.#throwWhenClosed();
    return listOffsets(this.#client, this.#requests, partitions, which, REQUEST_TIMEOUT_MS);
  }

  /** The ids (base64url) of the topics that exist and have one. Resolves in `poll`; rejects like `listOffsets`. */
  async topicIds(topics: readonly string[]): Promise<Map<string, string>> {
    this.#throwWhenClosed();
    if (topics.length === 0) return new Map();
    const found = await describeTopics(this.#client, this.#requests, topics, REQUEST_TIMEOUT_MS);
    return new Map(found.flatMap(({ topic, topicId }) => (topicId === undefined ? [] : [[topic, topicId]])));
  }

  /**
   * Leaves the group and frees everything; rebalances that come are answered, records that come are dropped.
   * After the deadline it does not wait any longer for the group's coordinator, and frees the rest when it can.
   */
  close(deadlineMs: number): Promise<void> {
    this.#closing ??= this.#close(deadlineMs);
    return this.#closing;
  }

  async #close(deadlineMs: number): Promise<void> {
    const { c } = this.#library;
    const { handle } = this.#client;
    const deadline = performance.now() + deadlineMs;
    this.#wake.close();
    this.#requests.close("the consumer was closed");
    this.#answerAnything();
    this.#fetching.stopAll();
    this.#discardAll();
    this.#fetching.leave();
    // A member without partitions that is closed while subscribed never sends LeaveGroup (rdkafka_cgrp.c,
    // rd_kafka_cgrp_revoke_all_rejoin: "terminating, skipping rejoin"): the next rebalance would wait for its ghost
    // until the session is over.
    c.rd_kafka_unsubscribe(handle);
    // Nor does one that is closed before it is unsubscribed, which librdkafka puts off to the end of a rebalance ("postponing
    // subscribe"): a JoinGroup is answered when the other members have heard of it, by their next heartbeat.
    while (this.#library.subscribedTopics(handle) > 0 && performance.now() < deadline - deadlineMs / 5) {
      if (!this.#discardAll()) await Bun.sleep(CLOSE_POLL_MS);
    }
    const refused = this.#library.takeError(c.rd_kafka_consumer_close_queue(handle, this.#queue), "close");
    const closed = () => refused !== undefined || c.rd_kafka_consumer_closed(handle) !== 0;
    while (!closed() && performance.now() < deadline) {
      if (!this.#discardAll()) await Bun.sleep(CLOSE_POLL_MS);
    }
    if (closed()) {
      this.#free();
      return;
    }
    // To free it now would block this thread until the coordinator answers, up to 5 s. If the thread ends
    // before, so does its timer, and the process is about to end too.
    const timer = setInterval(() => {
      this.#discardAll();
      if (!closed()) return;
      clearInterval(timer);
      this.#free();
    }, LATE_CLOSE_POLL_MS);
    timer.unref();
  }

  #free(): void {
    const { c } = this.#library;
    this.#discardAll();
    for (const topic of this.#topics) c.rd_kafka_topic_destroy(topic);
    c.rd_kafka_queue_destroy(this.#queue);
    this.#client.destroy();
  }

  /** @returns true when there was something */
  #discardAll(): boolean {
    let any = false;
    for (;;) {
      const event = this.#library.nextEvent(this.#queue);
      if (event === undefined) return any;
      any = true;
      this.#read(event);
      this.#answerAnything();
    }
  }

  #answerAnything(): void {
    const { unanswered } = this.#fetching;
    if (unanswered === "assign") this.#fetching.acknowledgeAssign(new Map());
    else if (unanswered === "revoke") this.#fetching.acknowledgeRevoke();
  }

  /** Reads and frees an event that is no record. @returns undefined for one that nobody needs to know of */
  #read(event: Pointer): ConsumerEvent | undefined {
    const { c } = this.#library;
    try {
      switch (c.rd_kafka_event_type(event)) {
        case EventType.rebalance:
          return this.#readRebalance(event);
        case EventType.error:
          return this.#readError(event);
        case EventType.offsetCommit:
          return { kind: "committed", error: this.#commitError(event) };
        case EventType.log:
          return { kind: "log", ...this.#library.eventLog(event) };
        default:
          return undefined;
      }
    } finally {
      c.rd_kafka_event_destroy(event);
    }
  }

  #readRebalance(event: Pointer): ConsumerEvent {
    const entries = this.#library.eventPartitions(event);
    const partitions = entries.map(({ topic, partition }) => ({ topic, partition }));
    if (this.#library.c.rd_kafka_event_error(event) === ErrorCode.assignPartitions) {
      this.#fetching.assigned(partitions);
      return { kind: "assign", partitions };
    }
    return { kind: "revoke", partitions, lost: this.#fetching.revoked(partitions) };
  }

  #readError(event: Pointer): ConsumerEvent | undefined {
    const error = this.#client.readError(event);
    if (error.code === ErrorCode.partitionEof) return undefined;
    if (error.code === ErrorCode.autoOffsetReset) {
      const at = this.#library.eventPartition(event);
      if (at) return { kind: "out_of_range", topic: at.topic, partition: at.partition, offset: at.offset };
    }
    return { kind: "error", ...error };
  }

  #commitError(event: Pointer): string | undefined {
    const code = this.#library.c.rd_kafka_event_error(event);
    const failed =
      code === ErrorCode.none
        ? this.#library.eventPartitions(event).find(({ errorCode }) => errorCode !== ErrorCode.none)
            ?.errorCode
        : code;
    return failed === undefined ? undefined : this.#library.errorName(failed);
  }

  #throwWhenClosed(): void {
    if (this.#closing) throw new Error("the consumer was closed");
  }

  /** @throws for an offset that is neither in a log nor its beginning or end */
  #placesOf(partitions: readonly TopicPartitionOffset[]): Map<number, number> {
    const places = new Map<number, number>();
    for (const partition of partitions) {
      const { offset } = partition;
      const logical = offset === LogicalOffset.beginning || offset === LogicalOffset.end;
      if (!logical && !(Number.isSafeInteger(offset) && offset >= 0)) {
        throw new RangeError(`${partition.topic} [${partition.partition}] cannot be fetched at ${offset}`);
      }
      places.set(this.slot(partition), offset);
    }
    return places;
  }
}
