// Topics of a group in; records packed into blocks out, and what happens to the partitions as events.
//
// A partition is owned (the group gave it to us) and, independently, fetched (librdkafka reads it). `fetch` and
// `stop` move it between the two by assigning and unassigning it in librdkafka; that is the one mechanism for
// starting late, pausing, resyncing and seeking. Facts from librdkafka's sources (rdkafka_assignment.c,
// rdkafka_cgrp.c) that this rests on:
//   - the group's idea of ownership (rkcg_group_assignment) is kept apart from what is assigned, so an ASSIGN may be
//     answered with fewer partitions, or none, and the others assigned at any later time;
//   - unassigning what is not assigned is an error, so a REVOKE is answered with those that are fetched;
//   - unassigning raises the partition's version before it returns: records that were fetched before are dropped
//     when they are polled, and assigning again waits until the fetcher has stopped.
//   - a rebalance that is under way but was not polled yet takes an assign or unassign of ours for its answer. The
//     events still come in order and each is still answered; partitions are not given away before, because that
//     waits for the ASSIGN that follows the REVOKE. But it forgets that the partitions are lost, so we read that
//     first and remember it.
import type { TopicPartition, TopicPartitionOffset } from "../event.ts";
import type { RecordBlock } from "../pipeline/record-block.ts";
import { Client, type ErrorReport, type LogLine, type Settings } from "./client.ts";
import { type Library, type Pointer, pointer } from "./library.ts";
import { PartitionTable } from "./partition-table.ts";
import { Requests } from "./requests.ts";
import { AdminOperation, ErrorCode, EventType, LogicalOffset } from "./symbols.ts";
import { readTopicDescriptions, requestTopicDescriptions } from "./topic-description.ts";
import { Wake } from "./wake.ts";

export type ConsumerEvent =
  /** Partitions are ours. Must be answered: `answerAssign`. */
  | { kind: "assign"; partitions: TopicPartition[] }
  /** Partitions go; `lost`: others may own them already. Must be answered: `answerRevoke`. */
  | { kind: "revoke"; partitions: TopicPartition[]; lost: boolean }
  /** The offset is not in the log. Comes once; the partition stands still until `fetch` moves it. */
  | { kind: "out_of_range"; topic: string; partition: number; offset: number }
  | ({ kind: "error" } & ErrorReport)
  /** The result of a `commit`. */
  | { kind: "committed"; error: string | undefined }
  | ({ kind: "log" } & LogLine);

export interface ConsumerOptions {
  readonly libraryPath: string;
  readonly settings: Settings;
  readonly topics: readonly string[];
  /** Called when there is something to poll, from the event loop. */
  readonly onWake: () => void;
}

/** A block takes no more once it holds this much, however few the records. */
const MAX_BLOCK_BYTES = 16 * 1024 * 1024;
const REQUEST_TIMEOUT_MS = 5000;
const CLOSE_POLL_MS = 2;

export class KafkaConsumer {
  readonly #client: Client;
  readonly #library: Library;
  readonly #queue: Pointer;
  readonly #topics: readonly Pointer[];
  readonly #table: PartitionTable;
  readonly #requests: Requests;
  readonly #wake: Wake;
  /** By slot: the partitions that the group gave us. */
  readonly #owned = new Set<number>();
  /** By slot: the partitions that librdkafka has assigned, with the offset that they began at. */
  readonly #fetched = new Map<number, number>();
  /** The rebalance that waits for its answer. Until then librdkafka would take any change for it. */
  #unanswered: { readonly kind: "assign" | "revoke"; readonly slots: readonly number[] } | undefined;
  /** By slot: moves asked for while a rebalance waited; undefined is a stop. */
  readonly #postponed = new Map<number, number | undefined>();
  #eager = false;
  #lost = false;
  #closing: Promise<void> | undefined;

  private constructor(
    client: Client,
    queue: Pointer,
    topics: readonly Pointer[],
    table: PartitionTable,
    wake: Wake,
  ) {
    this.#client = client;
    this.#library = client.library;
    this.#queue = queue;
    this.#topics = topics;
    this.#table = table;
    this.#requests = new Requests(client);
    this.#wake = wake;
    wake.watch(queue);
    wake.watch(this.#requests.queue);
  }

  /**
   * Joins the group. Nothing blocks: brokers that cannot be reached show as error events.
   * @throws ConfigurationError for settings that librdkafka refuses
   */
  static async open({ libraryPath, settings, topics, onWake }: ConsumerOptions): Promise<KafkaConsumer> {
    const client = Client.create(
      libraryPath,
      "consumer",
      settings,
      EventType.rebalance | EventType.offsetCommit,
    );
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
    const wake = await Wake.open(library, onWake);
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
    while (this.#unanswered === undefined) {
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
  answerAssign(fetch: readonly TopicPartitionOffset[]): void {
    if (!this.#closing) this.#answerAssign(this.#movesOf(fetch));
  }

  /** Answers a "revoke" event: no record of these partitions comes any more. */
  answerRevoke(): void {
    if (!this.#closing) this.#answerRevoke();
  }

  #answerAssign(moves: Map<number, number>): void {
    const { slots } = this.#takeUnanswered("assign");
    for (const slot of slots) this.#owned.add(slot);
    if (this.#eager) this.#fetched.clear();
    for (const slot of moves.keys()) {
      if (!this.#owned.has(slot) || this.#fetched.has(slot)) moves.delete(slot);
    }
    // Also when there is nothing to assign: this is the answer.
    this.#assign(moves);
    this.#movePostponed();
  }

  #answerRevoke(): void {
    const { slots } = this.#takeUnanswered("revoke");
    const fetched = slots.filter((slot) => this.#fetched.has(slot));
    for (const slot of slots) {
      this.#owned.delete(slot);
      this.#postponed.delete(slot);
    }
    if (this.#eager) {
      this.#fetched.clear();
      this.#library.check(this.#library.c.rd_kafka_assign(this.#client.handle, null), "unassign");
    } else {
      this.#unassign(fetched);
    }
    this.#movePostponed();
  }

  /**
   * Starts fetching partitions, or moves those that are fetched already. Those that are not ours (any more)
   * are left out. While a rebalance waits for its answer this takes effect after it.
   */
  fetch(partitions: readonly TopicPartitionOffset[]): void {
    for (const [slot, offset] of this.#movesOf(partitions)) this.#postponed.set(slot, offset);
    if (this.#unanswered === undefined) this.#movePostponed();
  }

  /** Stops fetching partitions, which stay ours. No record of theirs comes until `fetch`. */
  stop(partitions: readonly TopicPartition[]): void {
    for (const partition of partitions) this.#postponed.set(this.slot(partition), undefined);
    if (this.#unanswered === undefined) this.#movePostponed();
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
   * undefined where the broker gave an error. Resolves in `poll`.
   */
  async listOffsets(
    partitions: readonly TopicPartition[],
    which: "beginning" | "end",
  ): Promise<(number | undefined)[]> {
    if (partitions.length === 0) return [];
    const { c } = this.#library;
    const found = await this.#request({
      what: `the ${which} of ${partitions.length} partition(s) cannot be read`,
      operation: AdminOperation.listOffsets,
      readCommitted: true,
      send: (options, queue) => {
        const wanted = partitions.map(({ topic, partition }) => ({
          topic,
          partition,
          offset: LogicalOffset[which],
        }));
        this.#library.withPartitions(wanted, (list) =>
          c.rd_kafka_ListOffsets(this.#client.handle, list, options, queue),
        );
      },
      read: (event) =>
        this.#library.pointers(c.rd_kafka_ListOffsets_result_infos, event).map((info) => {
          const at = c.rd_kafka_ListOffsetsResultInfo_topic_partition(info);
          return this.#library.readPartition(pointer(at, "ListOffsets result"));
        }),
    });
    return partitions.map(({ topic, partition }) => {
      const entry = found.find((other) => other.topic === topic && other.partition === partition);
      return entry === undefined || entry.errorCode !== ErrorCode.none || entry.offset < 0
        ? undefined
        : entry.offset;
    });
  }

  /** The ids (base64url) of the topics that exist and have one. Resolves in `poll`. */
  async topicIds(topics: readonly string[]): Promise<Map<string, string>> {
    if (topics.length === 0) return new Map();
    const descriptions = await this.#request({
      what: `the ids of ${topics.join(", ")} cannot be read`,
      operation: AdminOperation.describeTopics,
      send: (options, queue) => requestTopicDescriptions(this.#client, topics, options, queue),
      read: (event) => readTopicDescriptions(this.#library, event),
    });
    return new Map(
      descriptions.flatMap(({ topic, topicId }) => (topicId === undefined ? [] : [[topic, topicId]])),
    );
  }

  /**
   * Leaves the group and frees everything; rebalances that come are answered, records that come are dropped.
   * After the deadline it goes without a word to the group, which will notice when the session times out.
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
    if (deadlineMs > 0) {
      this.#answerAnything();
      this.#library.takeError(c.rd_kafka_consumer_close_queue(handle, this.#queue), "close");
      while (c.rd_kafka_consumer_closed(handle) === 0 && performance.now() < deadline) {
        if (!this.#discardAll()) await Bun.sleep(CLOSE_POLL_MS);
      }
    }
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
    if (this.#unanswered?.kind === "assign") this.#answerAssign(new Map());
    else if (this.#unanswered?.kind === "revoke") this.#answerRevoke();
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
    const { c } = this.#library;
    const { handle } = this.#client;
    const entries = this.#library.eventPartitions(event);
    const partitions = entries.map(({ topic, partition }) => ({ topic, partition }));
    const slots = partitions.map((partition) => this.slot(partition));
    // After the group was lost there is no protocol; what was assigned under the last one goes by its rules.
    const protocol = c.rd_kafka_rebalance_protocol(handle);
    if (protocol === "EAGER" || protocol === "COOPERATIVE") this.#eager = protocol === "EAGER";
    if (c.rd_kafka_event_error(event) === ErrorCode.assignPartitions) {
      this.#unanswered = { kind: "assign", slots };
      return { kind: "assign", partitions };
    }
    this.#noteLoss();
    const lost = this.#lost;
    this.#lost = false;
    this.#unanswered = { kind: "revoke", slots };
    return { kind: "revoke", partitions, lost };
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

  #request<T>(
    request: Omit<Parameters<Requests["send"]>[0], "timeoutMs" | "read"> & { read: (event: Pointer) => T },
  ) {
    if (this.#closing) return Promise.reject(new Error(`${request.what}: the consumer was closed`));
    return this.#requests.send<T>({ ...request, timeoutMs: REQUEST_TIMEOUT_MS });
  }

  #takeUnanswered(kind: "assign" | "revoke"): { readonly slots: readonly number[] } {
    const unanswered = this.#unanswered;
    if (unanswered?.kind !== kind) throw new Error(`there is no "${kind}" event to answer`);
    this.#unanswered = undefined;
    return unanswered;
  }

  /** @throws for an offset that is neither in a log nor its beginning or end */
  #movesOf(partitions: readonly TopicPartitionOffset[]): Map<number, number> {
    const moves = new Map<number, number>();
    for (const partition of partitions) {
      const { offset } = partition;
      const logical = offset === LogicalOffset.beginning || offset === LogicalOffset.end;
      if (!logical && !(Number.isSafeInteger(offset) && offset >= 0)) {
        throw new RangeError(`${partition.topic} [${partition.partition}] cannot be fetched at ${offset}`);
      }
      moves.set(this.slot(partition), offset);
    }
    return moves;
  }

  #movePostponed(): void {
    if (this.#postponed.size === 0) return;
    const moves = [...this.#postponed];
    this.#postponed.clear();
    if (this.#closing) return;
    const stopped = moves.flatMap(([slot]) => (this.#fetched.has(slot) ? [slot] : []));
    const started = new Map<number, number>();
    for (const [slot, offset] of moves) {
      if (offset !== undefined && this.#owned.has(slot)) started.set(slot, offset);
    }
    if (stopped.length === 0 && started.size === 0) return;
    this.#noteLoss();
    if (this.#eager) {
      for (const slot of stopped) this.#fetched.delete(slot);
      this.#assign(started);
    } else {
      if (stopped.length > 0) this.#unassign(stopped);
      if (started.size > 0) this.#assign(started);
    }
  }

  /** Assigns partitions by slot and offset, besides those that are fetched. */
  #assign(moves: ReadonlyMap<number, number>): void {
    const { c } = this.#library;
    const { handle } = this.#client;
    if (this.#eager) {
      // All at once or not at all: the others go on where they are.
      for (const [slot, start] of this.#fetched) {
        this.#fetched.set(slot, this.position(this.topicPartition(slot)) ?? start);
      }
    }
    for (const [slot, offset] of moves) {
      this.#fetched.set(slot, offset);
      this.#table.nextOffset[slot] = Math.max(offset, 0);
    }
    const assigned = this.#eager ? this.#fetched : moves;
    const partitions = [...assigned].map(([slot, offset]) => ({ ...this.topicPartition(slot), offset }));
    this.#library.withPartitions(partitions, (list) => {
      if (this.#eager) this.#library.check(c.rd_kafka_assign(handle, list), "assign");
      else this.#throwError(c.rd_kafka_incremental_assign(handle, list), "incremental assign");
    });
  }

  #unassign(slots: readonly number[]): void {
    const { c } = this.#library;
    for (const slot of slots) this.#fetched.delete(slot);
    const partitions = slots.map((slot) => this.topicPartition(slot));
    this.#library.withPartitions(partitions, (list) =>
      this.#throwError(c.rd_kafka_incremental_unassign(this.#client.handle, list), "incremental unassign"),
    );
  }

  /** Our changes make librdkafka forget a loss; it belongs to the next revoke. */
  #noteLoss(): void {
    if (this.#library.c.rd_kafka_assignment_lost(this.#client.handle) !== 0) this.#lost = true;
  }

  #throwError(error: Parameters<Library["takeError"]>[0], what: string): void {
    const taken = this.#library.takeError(error, what);
    if (taken) throw taken;
  }
}
