// Reads the records of a group's topics into blocks, and reports what happens to the partitions as events.
import type { TopicPartition, TopicPartitionOffset } from "../event.ts";
import type { RecordBlock } from "../pipeline/record-block.ts";
import { AdminRequests } from "./admin-requests.ts";
import { Client, type ErrorReport, type LogLine, type Settings } from "./client.ts";
import { ErrorCode } from "./error-codes.ts";
import { EventType, LogicalOffset } from "./ffi/bindings.ts";
import type { Library, StartPosition } from "./ffi/library.ts";
import { type Pointer, pointer } from "./ffi/memory.ts";
import { MessageReader } from "./ffi/message-reader.ts";
import { LibrdkafkaAssignment } from "./librdkafka-assignment.ts";
import { listOffsets } from "./list-offsets.ts";
import { type LogTruncation, logTruncation } from "./log-truncation.ts";
import { PartitionTable } from "./partition-table.ts";
import { QueueEvents } from "./queue-events.ts";
import { keepsPlace } from "./settings.ts";
import { TopicInquiry } from "./topic-inquiry.ts";
import { unreadableReason } from "./unreadable-reason.ts";

export type ConsumerEvent =
  /** The group gives us partitions. Must be answered with `acknowledgeAssign`. */
  | { kind: "assign"; partitions: TopicPartition[] }
  /** The group takes partitions; `lost`: others may own them already. Must be answered with `acknowledgeRevoke`. */
  | { kind: "revoke"; partitions: TopicPartition[]; lost: boolean }
  /** The log does not hold the offset. Comes once; the partition delivers nothing until `fetch` moves it. */
  | { kind: "out_of_range"; topic: string; partition: number; offset: number }
  /**
   * Kafka has cut the log off below what was read, and other records may stand there by now. The log that was read
   * ends at `end`, where the leader can tell. Comes once; the partition delivers nothing until `fetch` moves it.
   */
  | ({ kind: "truncated"; topic: string; partition: number } & LogTruncation)
  /** librdkafka cannot read the batch at this offset. It keeps trying, and this comes with each attempt. */
  | { kind: "unreadable"; topic: string; partition: number; offset: number; reason: string }
  | ({ kind: "error" } & ErrorReport)
  /** The result of a `commit`. */
  | { kind: "committed"; error: string | undefined }
  | ({ kind: "log" } & LogLine);

/** Where to start fetching a partition. */
export type FetchStart = TopicPartition & StartPosition;

export interface ConsumerOptions {
  readonly settings: Settings;
  readonly topics: readonly string[];
  /** Those whose brokers give topics no ids: their name and the id of their cluster stand for it. */
  readonly topicsWithoutId?: readonly string[];
  /** Called when there is something to poll, from the event loop. */
  readonly onWake: () => void;
  /**
   * Called where `topicIds` finds another id than before: the topic was deleted and created again. librdkafka takes what
   * brokers say of the new topic's leaders for outdated where the old topic's leader epoch was greater
   * (rd_kafka_toppar_leader_update), so this client may never fetch it: another one has to be opened.
   */
  readonly onTopicRecreated?: (topic: string) => void;
}

const REQUEST_TIMEOUT_MS = 5000;
const CLOSE_POLL_MS = 2;
const LATE_CLOSE_POLL_MS = 100;

/** One member of a consumer group. Its owner polls it when `onWake` is called, answers rebalances, and closes it. */
export class KafkaConsumer {
  readonly #client: Client;
  readonly #library: Library;
  /** The group's events, errors, log lines and the results of commits. */
  readonly #events: Pointer;
  /** Records, and errors of the partition behind whose records they come. */
  readonly #records: Pointer;
  /** Held for `#table`. */
  readonly #topics: readonly Pointer[];
  readonly #table: PartitionTable;
  readonly #requests: AdminRequests;
  readonly #inquiry: TopicInquiry;
  readonly #queueEvents: QueueEvents;
  readonly #keepsPlace: boolean;
  readonly #topicsWithoutId: readonly string[];
  readonly #onTopicRecreated: (topic: string) => void;
  /** The first id of each topic that was found. */
  readonly #firstIds = new Map<string, string>();
  readonly #messages: MessageReader;
  readonly #assignment: LibrdkafkaAssignment;
  #closing: Promise<void> | undefined;

  private constructor(
    client: Client,
    events: Pointer,
    topics: readonly Pointer[],
    table: PartitionTable,
    queueEvents: QueueEvents,
    { settings, topicsWithoutId = [], onTopicRecreated = () => undefined }: ConsumerOptions,
  ) {
    this.#client = client;
    this.#library = client.library;
    this.#events = events;
    this.#records = pointer(client.library.c.rd_kafka_queue_new(client.handle), "rd_kafka_queue_new");
    this.#topics = topics;
    this.#table = table;
    this.#messages = new MessageReader(client.library);
    this.#assignment = new LibrdkafkaAssignment(client, table, this.#records);
    this.#requests = new AdminRequests(client);
    this.#inquiry = new TopicInquiry(client, this.#requests);
    this.#queueEvents = queueEvents;
    this.#keepsPlace = keepsPlace(settings);
    this.#topicsWithoutId = topicsWithoutId;
    this.#onTopicRecreated = onTopicRecreated;
    for (const queue of [events, this.#records, this.#requests.queue]) queueEvents.watch(queue);
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
    this.#requests.poll();
    if (this.#assignment.unanswered === undefined) this.#assignment.validate();
    while (this.#assignment.unanswered === undefined) {
      const event = this.#library.nextEvent(this.#events) ?? this.#takeRecords(block);
      if (event === undefined) return undefined;
      const read = this.#read(event);
      if (read !== undefined) return read;
    }
    return undefined;
  }

  #takeRecords(block: RecordBlock | undefined): Pointer | undefined {
    return block && this.#messages.takeRecords(this.#records, block, this.#table);
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
    if (!this.#closing) this.#assignment.acknowledgeAssign(this.#startsOf(fetch));
  }

  /** Answers a "revoke" event. After it no record of these partitions comes. */
  acknowledgeRevoke(): void {
    if (!this.#closing) this.#assignment.acknowledgeRevoke();
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
    if (!this.#closing) this.#assignment.start(starts);
  }

  /** Stops fetching partitions, which stay owned. None of their records comes until `fetch`. */
  stop(partitions: readonly TopicPartition[]): void {
    if (!this.#closing) this.#assignment.stop(partitions.map((partition) => this.slot(partition)));
  }

  /**
   * Leaves the group and joins it again, so that the group assigns all partitions again. Ours go and come by "revoke" and
   * "assign" events. While a rebalance is under way, librdkafka only follows that one.
   */
  rejoin(): void {
    if (this.#closing) return;
    this.#library.c.rd_kafka_unsubscribe(this.#client.handle);
    this.#subscribe(this.#table.topics);
  }

  /** True while the group counts this consumer as a member, also one that it gives no partitions. */
  isMember(): boolean {
    // The generation of the classic protocol, the member epoch of KIP-848; both begin at 1.
    return !this.#closing && this.#library.groupGeneration(this.#client.handle) > 0;
  }

  /** The offset after the last one polled, control records included; undefined before the first. */
  position(partition: TopicPartition): number | undefined {
    if (this.#closing) return undefined;
    const { c } = this.#library;
    return this.#library.withPartitions([partition], (list) => {
      c.rd_kafka_position(this.#client.handle, list);
      const [entry] = this.#library.readPartitions(list);
      return entry !== undefined && entry.offset >= 0 ? entry.offset : undefined;
    });
  }

  /** Commits the group's offsets to Kafka, for lag tools. The result is a "committed" event. */
  commit(offsets: readonly TopicPartitionOffset[]): void {
    if (this.#closing || offsets.length === 0) return;
    const { c } = this.#library;
    this.#library.withPartitions(offsets, (list) =>
      this.#library.check(
        c.rd_kafka_commit_queue(this.#client.handle, list, this.#events, null, null),
        "offsets cannot be committed",
      ),
    );
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
    return listOffsets(this.#client, this.#requests, partitions, which, REQUEST_TIMEOUT_MS);
  }

  /**
   * The ids of the topics that have one: base64url, or that of the cluster for `topicsWithoutId`. Resolves in `poll`;
   * rejects when no broker answers.
   */
  async topicIds(topics: readonly string[]): Promise<Map<string, string>> {
    this.#throwWhenClosed();
    if (topics.length === 0) return new Map();
    const found = await this.#inquiry.describe(topics, this.#messages.lastBroker);
    const ids = found.map(({ topic, topicId, standInId }): [string, string | undefined] => [
      topic,
      topicId ?? (this.#topicsWithoutId.includes(topic) ? standInId : undefined),
    ]);
    const known = new Map(ids.flatMap(([topic, id]) => (id === undefined ? [] : [[topic, id]])));
    for (const [topic, id] of known) this.#noteId(topic, id);
    return known;
  }

  #noteId(topic: string, id: string): void {
    const first = this.#firstIds.get(topic);
    if (first === undefined) this.#firstIds.set(topic, id);
    else if (first !== id) this.#onTopicRecreated(topic);
  }

  /**
   * Leaves the group, if it does not keep its place there, and frees everything. Rebalances that come are answered, records that come are dropped. After the
   * deadline it stops waiting for the group's coordinator, and frees the rest in the background.
   */
  close(deadlineMs: number): Promise<void> {
    this.#closing ??= this.#close(deadlineMs);
    return this.#closing;
  }

  async #close(deadlineMs: number): Promise<void> {
    const { c } = this.#library;
    const { handle } = this.#client;
    const deadline = performance.now() + deadlineMs;
    this.#queueEvents.close();
    this.#requests.close("the consumer was closed");
    this.#acknowledgeRebalance();
    this.#assignment.stopAll();
    this.#discardAll();
    this.#assignment.leave();
    // Unsubscribing would give up the place (rd_kafka_cgrp_leave_maybe skips LeaveGroup only while terminating).
    if (!this.#keepsPlace) await this.#unsubscribe(deadline - deadlineMs / 5);
    const refused = this.#library.takeError(c.rd_kafka_consumer_close_queue(handle, this.#events), "close");
    const closed = () => refused !== undefined || c.rd_kafka_consumer_closed(handle) !== 0;
    while (!closed() && performance.now() < deadline) {
      if (!this.#discardAll()) await Bun.sleep(CLOSE_POLL_MS);
    }
    if (closed()) {
      this.#free();
      return;
    }
    // Freeing it now would block this thread until the coordinator answers, up to 5 s. A thread that ends before
    // takes the timer with it; then the process is about to end too.
    const timer = setInterval(() => {
      this.#discardAll();
      if (!closed()) return;
      clearInterval(timer);
      this.#free();
    }, LATE_CLOSE_POLL_MS);
    timer.unref();
  }

  #subscribe(topics: readonly string[]): void {
    const { library, handle } = this.#client;
    const unassigned = topics.map((topic) => ({ topic, partition: -1 }));
    library.withPartitions(unassigned, (list) =>
      library.check(library.c.rd_kafka_subscribe(handle, list), `cannot subscribe to ${topics.join(", ")}`),
    );
  }

  /**
   * Closed while subscribed, a member without partitions never sends LeaveGroup (rd_kafka_cgrp_revoke_all_rejoin:
   * "terminating, skipping rejoin"), and the next rebalance waits for its session to end. During a rebalance librdkafka
   * postpones the unsubscribe ("postponing subscribe") until JoinGroup is answered, which takes until the other
   * members' next heartbeat. Closing before that skips LeaveGroup as well.
   */
  async #unsubscribe(deadline: number): Promise<void> {
    const { handle } = this.#client;
    this.#library.c.rd_kafka_unsubscribe(handle);
    while (this.#library.subscribedTopics(handle) > 0 && performance.now() < deadline) {
      if (!this.#discardAll()) await Bun.sleep(CLOSE_POLL_MS);
    }
  }

  #free(): void {
    const { c } = this.#library;
    this.#discardAll();
    for (const topic of this.#topics) c.rd_kafka_topic_destroy(topic);
    c.rd_kafka_queue_destroy(this.#records);
    c.rd_kafka_queue_destroy(this.#events);
    this.#client.destroy();
  }

  /** @returns true when there was an event or a record */
  #discardAll(): boolean {
    let any = false;
    for (;;) {
      const event = this.#library.nextEvent(this.#events) ?? this.#library.nextEvent(this.#records);
      if (event === undefined) return any;
      any = true;
      this.#read(event);
      this.#acknowledgeRebalance();
    }
  }

  #acknowledgeRebalance(): void {
    const { unanswered } = this.#assignment;
    if (unanswered === "assign") this.#assignment.acknowledgeAssign(new Map());
    else if (unanswered === "revoke") this.#assignment.acknowledgeRevoke();
  }

  /** Reads and frees an event that is not a record. @returns undefined for an event of no interest */
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
      this.#assignment.assigned(partitions);
      return { kind: "assign", partitions };
    }
    return { kind: "revoke", partitions, lost: this.#assignment.revoked(partitions) };
  }

  #readError(event: Pointer): ConsumerEvent | undefined {
    const error = this.#client.readError(event);
    if (error.code === ErrorCode.partitionEof) return undefined;
    const reason = unreadableReason(error);
    const isOfPartition = reason !== undefined || error.code === ErrorCode.autoOffsetReset;
    const at = isOfPartition && this.#library.eventPartition(event);
    if (!at) return { kind: "error", ...error };
    const { topic, partition, offset } = at;
    if (reason !== undefined) return { kind: "unreadable", topic, partition, offset, reason };
    const truncation = logTruncation(error);
    if (truncation !== undefined) return { kind: "truncated", topic, partition, ...truncation };
    return { kind: "out_of_range", topic, partition, offset };
  }

  #commitError(event: Pointer): string | undefined {
    const code = this.#library.c.rd_kafka_event_error(event);
    const failed = code || this.#library.eventPartitions(event).find(({ errorCode }) => errorCode)?.errorCode;
    return failed ? this.#library.errorName(failed) : undefined;
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
