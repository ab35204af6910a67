// Models a member of a consumer group as workers see it: the same calls, events and orders as KafkaConsumer has.

import type { TopicPartition, TopicPartitionOffset } from "../../../shared/event.ts";
import type { ConsumerEvent, FetchStart } from "../../../shared/kafka/consumer.ts";
import { ErrorCode } from "../../../shared/kafka/error-codes.ts";
import type { StartPosition } from "../../../shared/kafka/ffi/library.ts";
import { KafkaError } from "../../../shared/kafka/kafka-error.ts";
import type { RecordBlock } from "../../../shared/pipeline/record-block.ts";
import type { KafkaPort } from "../../../workers/consumer/ports.ts";
import { addRecord } from "../../pipeline/record.ts";
import type { OperatingSystemProcess } from "../operating-system-process.ts";
import type { WorkerObserver } from "../worker-observer.ts";
import { FetchedPartition } from "./fetched-partition.ts";
import type { GroupCoordinator, GroupMember, Rebalance } from "./group-coordinator.ts";
import type { KafkaCluster } from "./kafka-cluster.ts";
import { type EventItem, type FetchedItem, MemberQueue } from "./member-queue.ts";

const REQUEST_TIMEOUT_MS = 5000;
/** Of a wake-up that is not missed. */
const MAX_WAKE_MS = 0.4;
const MISSED_WAKE_UPS = 0.02;

export interface MemberOptions {
  readonly name: string;
  readonly cluster: KafkaCluster;
  readonly group: GroupCoordinator;
  readonly process: OperatingSystemProcess;
  readonly onWake: () => void;
  readonly observer: WorkerObserver;
}

export class SimulatedMember implements KafkaPort, GroupMember {
  readonly name: string;
  readonly #options: MemberOptions;
  readonly #events: MemberQueue<EventItem>;
  readonly #records: MemberQueue<FetchedItem>;
  readonly #slots = new Map<string, number>();
  readonly #partitions: TopicPartition[] = [];
  /** By slot: the least offset of the next record. */
  readonly #nextOffset: number[] = [];
  /** By slot: the offset after the last one polled, since the partition was started. */
  readonly #position: (number | undefined)[] = [];
  readonly #owned = new Set<number>();
  readonly #fetched = new Map<number, FetchedPartition>();
  readonly #postponed = new Map<number, StartPosition | undefined>();
  #unanswered: Rebalance | undefined;
  /** When the rebalance was polled, by the time that the process has run. */
  #polledAtMs = 0;
  #answeredAtMs = 0;
  #isLost = false;
  /** Evicted, and the next heartbeat has not told yet. */
  #isEvictionUnnoticed = false;
  #isMember = false;
  /** Leaves the group once its revocation is answered, and joins it again. */
  #isRejoining = false;
  /** How often it has left the group to join it again: what it was told before is void. */
  #rejoins = 0;
  #isClosing = false;
  #refusesNextCommit = false;
  #repeatsNextRecord = false;
  /** Answers to questions that arrived; they are given in `poll`. */
  #answers: (() => void)[] = [];
  readonly #open = new Set<(error: Error) => void>();

  constructor(options: MemberOptions) {
    this.name = options.name;
    this.#options = options;
    this.#events = new MemberQueue(() => this.#wake());
    this.#records = new MemberQueue(() => this.#wake());
    this.#join();
  }

  poll(block: RecordBlock | undefined): ConsumerEvent | undefined {
    if (this.#isClosing) return undefined;
    const answers = this.#answers;
    this.#answers = [];
    for (const answer of answers) answer();
    if (this.#unanswered !== undefined) return undefined;
    const event = this.#takeEvent() ?? this.#takeRecords(block);
    if (event !== undefined) this.#options.observer.polled(event);
    return event;
  }

  slot({ topic, partition }: TopicPartition): number {
    const name = `${topic} ${partition}`;
    let slot = this.#slots.get(name);
    if (slot === undefined) {
      slot = this.#partitions.length;
      this.#slots.set(name, slot);
      this.#partitions.push({ topic, partition });
      this.#nextOffset.push(0);
    }
    return slot;
  }

  topicPartition(slot: number): TopicPartition {
    return this.#partitions[slot]!;
  }

  acknowledgeAssign(fetch: readonly FetchStart[]): void {
    if (this.#isClosing) return;
    const rebalance = this.#takeUnanswered("assign");
    for (const partition of rebalance.partitions) this.#owned.add(this.slot(partition));
    this.#options.group.answered(this, rebalance);
    this.fetch(fetch);
    this.#applyPostponed();
  }

  acknowledgeRevoke(): void {
    if (this.#isClosing) return;
    const rebalance = this.#takeUnanswered("revoke");
    for (const partition of rebalance.partitions) {
      const slot = this.slot(partition);
      this.#owned.delete(slot);
      this.#postponed.delete(slot);
      this.#unassign(slot);
    }
    this.#options.observer.revocationAnswered(this.#options.process.ranMs() - this.#polledAtMs);
    this.#options.group.answered(this, rebalance);
    this.#applyPostponed();
    if (this.#isRejoining) this.#leaveToRejoin();
    this.#isRejoining = false;
    if (!this.#options.group.has(this) && !this.#isEvictionUnnoticed) this.#join();
  }

  rejoin(): void {
    // During a rebalance librdkafka only follows that one.
    const isRebalancing = this.#unanswered !== undefined || this.#queuedRebalances().length > 0;
    if (this.#isClosing || isRebalancing || !this.#options.group.has(this)) return;
    if (this.#owned.size === 0) {
      this.#leaveToRejoin();
      this.#join();
      return;
    }
    this.#isRejoining = true;
    const partitions = [...this.#owned].map((slot) => this.#partitions[slot]!);
    const rebalance = { kind: "revoke", partitions } as const;
    const atMs = this.#options.process.ranMs();
    this.#events.push({ kind: "rebalance", rebalance, isLost: false, atMs });
  }

  fetch(partitions: readonly FetchStart[]): void {
    for (const { offset } of partitions) {
      if (!Number.isSafeInteger(offset) || offset < 0) throw new RangeError(`cannot be fetched at ${offset}`);
    }
    if (this.#isClosing) return;
    for (const partition of partitions) this.#postponed.set(this.slot(partition), partition);
    if (this.#unanswered === undefined) this.#applyPostponed();
  }

  stop(partitions: readonly TopicPartition[]): void {
    if (this.#isClosing) return;
    for (const partition of partitions) this.#postponed.set(this.slot(partition), undefined);
    if (this.#unanswered === undefined) this.#applyPostponed();
  }

  isMember(): boolean {
    return !this.#isClosing && this.#isMember;
  }

  position(partition: TopicPartition): number | undefined {
    return this.#isClosing ? undefined : this.#position[this.slot(partition)];
  }

  commit(offsets: readonly TopicPartitionOffset[]): void {
    if (this.#isClosing || offsets.length === 0) return;
    if (this.#refusesNextCommit) {
      this.#refusesNextCommit = false;
      throw new KafkaError(ErrorCode.invalidArgument, "_INVALID_ARG", "offsets cannot be committed");
    }
    const { process, cluster } = this.#options;
    process.after(cluster.answerMs() ?? REQUEST_TIMEOUT_MS, () =>
      this.#events.push({ kind: "event", event: { kind: "committed", error: undefined } }),
    );
  }

  listOffsets(
    partitions: readonly TopicPartition[],
    which: "beginning" | "end",
  ): Promise<(number | undefined)[]> {
    if (partitions.length === 0) return Promise.resolve([]);
    const { cluster, process } = this.#options;
    // A leader that is away may be waited for until the end.
    const isWaiting =
      partitions.some((partition) => !cluster.log(partition)?.hasLeader) && process.random() < 0.5;
    const ms = isWaiting ? REQUEST_TIMEOUT_MS : cluster.answerMs();
    return this.#ask(`the ${which} of ${partitions.length} partition(s) cannot be read`, ms, () => {
      const found = partitions.map((partition) => {
        const log = cluster.log(partition);
        if (log === undefined || !log.hasLeader) return undefined;
        return which === "beginning" ? log.beginning : log.stableEnd;
      });
      if (found.every((offset) => offset === undefined)) throw timedOut(`the ${which} cannot be read`);
      return found;
    });
  }

  topicIds(topics: readonly string[]): Promise<Map<string, string>> {
    const { cluster } = this.#options;
    return this.#ask("the topics cannot be described", cluster.answerMs(), () => {
      const found = topics.flatMap((name) => cluster.topic(name) ?? []);
      return new Map(found.map(({ name, id }) => [name, id]));
    });
  }

  close(): Promise<void> {
    if (this.#isClosing) return Promise.resolve();
    this.#isClosing = true;
    for (const reject of this.#open) reject(new Error("the consumer was closed"));
    for (const slot of this.#fetched.keys()) this.#unassign(slot);
    const { process, group } = this.#options;
    const { promise, resolve } = Promise.withResolvers<void>();
    process.after(1 + process.random() * 50, () => {
      group.leave(this);
      resolve();
    });
    return promise;
  }

  /** The next commit of offsets throws. */
  refuseNextCommit(): void {
    this.#refusesNextCommit = true;
  }

  /** The next record is delivered twice, which librdkafka must never do. */
  repeatNextRecord(): void {
    this.#repeatsNextRecord = true;
  }

  /** An error or a log line of librdkafka. */
  report(event: ConsumerEvent): void {
    if (!this.#isClosing) this.#events.push({ kind: "event", event });
  }

  onRebalance(rebalance: Rebalance): void {
    const { process, group } = this.#options;
    const rejoins = this.#rejoins;
    process.after(process.random() * 5, () => {
      if (this.#isRejoining || this.#rejoins !== rejoins) return;
      if (this.#isClosing) group.answered(this, rebalance);
      else this.#events.push({ kind: "rebalance", rebalance, isLost: false, atMs: process.ranMs() });
    });
  }

  onEvicted(): void {
    const { process } = this.#options;
    this.#isEvictionUnnoticed = true;
    process.after(process.random() * 1500, () => {
      this.#isEvictionUnnoticed = false;
      this.#isMember = false;
      if (this.#isClosing) return;
      this.#isLost = true;
      if (this.#isRejoining) return;
      const given = this.#queuedRebalances().flatMap(({ kind, partitions }) =>
        kind === "assign" ? partitions : [],
      );
      const answered = this.#unanswered?.kind === "assign" ? this.#unanswered.partitions : [];
      const partitions = [...[...this.#owned].map((slot) => this.#partitions[slot]!), ...answered, ...given];
      if (partitions.length === 0) return this.#join();
      const rebalance = { kind: "revoke", partitions } as const;
      this.#events.push({ kind: "rebalance", rebalance, isLost: true, atMs: process.ranMs() });
    });
  }

  #leaveToRejoin(): void {
    this.#rejoins++;
    this.#options.group.leave(this);
  }

  #join(): void {
    const { process, group } = this.#options;
    process.after(1 + process.random() * 50, () => {
      if (this.#isClosing || group.has(this)) return;
      this.#isLost = false;
      this.#isMember = true;
      group.join(this);
    });
  }

  #queuedRebalances(): Rebalance[] {
    return this.#events.all().flatMap((item) => (item.kind === "rebalance" ? [item.rebalance] : []));
  }

  #takeEvent(): ConsumerEvent | undefined {
    const item = this.#events.first();
    if (item === undefined) return undefined;
    this.#events.shift();
    return item.kind === "event" ? item.event : this.#takeRebalance(item);
  }

  #takeRecords(block: RecordBlock | undefined): ConsumerEvent | undefined {
    if (block === undefined) return undefined;
    while (!block.full) {
      const item = this.#records.first();
      if (item === undefined) return undefined;
      if (item.kind === "event") {
        this.#records.shift();
        return item.event;
      }
      this.#takeEntries(item, block);
    }
    return undefined;
  }

  #takeRebalance({ rebalance, isLost, atMs }: QueuedRebalance): ConsumerEvent {
    const { process, observer } = this.#options;
    this.#unanswered = rebalance;
    this.#polledAtMs = process.ranMs();
    observer.rebalancePolled(process.ranMs() - Math.max(atMs, this.#answeredAtMs));
    const partitions = [...rebalance.partitions];
    if (rebalance.kind === "assign") return { kind: "assign", partitions };
    return { kind: "revoke", partitions, lost: isLost || this.#isLost };
  }

  #takeEntries(fetched: FetchedEntries, block: RecordBlock): void {
    const { slot, source, entries } = fetched;
    // What was fetched before a stop is dropped.
    const isCurrent = this.#fetched.get(slot) === source;
    const end = isCurrent ? entries.length : 0;
    while (fetched.next < end && !block.full) {
      const { offset, record, leaderEpoch } = entries[fetched.next++]!;
      if (record !== undefined && offset >= this.#nextOffset[slot]!) {
        const { value, key } = record;
        const delivered = { slot, offset, leaderEpoch, value, ...(key && { key }) };
        addRecord(block, delivered);
        this.#nextOffset[slot] = offset + 1;
        if (this.#repeatsNextRecord && !block.full) addRecord(block, delivered);
        this.#repeatsNextRecord = false;
      }
      this.#position[slot] = offset + 1;
    }
    if (fetched.next >= end) this.#records.shift();
  }

  #takeUnanswered(kind: Rebalance["kind"]): Rebalance {
    const unanswered = this.#unanswered;
    if (unanswered?.kind !== kind) throw new Error(`there is no "${kind}" event to answer`);
    this.#unanswered = undefined;
    this.#answeredAtMs = this.#options.process.ranMs();
    return unanswered;
  }

  #applyPostponed(): void {
    const changes = [...this.#postponed];
    this.#postponed.clear();
    let hasChanged = false;
    for (const [slot, start] of changes) {
      hasChanged = this.#unassign(slot) || hasChanged;
      if (start === undefined || !this.#owned.has(slot)) continue;
      this.#assign(slot, start);
      hasChanged = true;
    }
    // To librdkafka a change is the answer to a rebalance that waits in the queue.
    const waiting = hasChanged ? this.#queuedRebalances()[0] : undefined;
    if (waiting === undefined) return;
    this.#options.observer.answeredEarly();
    this.#options.group.answered(this, waiting);
  }

  #assign(slot: number, start: StartPosition): void {
    const { cluster, process, observer } = this.#options;
    observer.fetching(this.#partitions[slot]!, start.offset);
    this.#nextOffset[slot] = start.offset;
    this.#position[slot] = undefined;
    const source = new FetchedPartition(
      this.#partitions[slot]!,
      start,
      { cluster, process },
      {
        onEntries: (entries) => this.#records.push({ kind: "entries", slot, source, entries, next: 0 }),
        onEvent: (event) => this.#records.push({ kind: "event", event }),
        onTruncated: (isStarting) => observer.truncated(isStarting),
        hasRoom: () => this.#records.length < 50,
      },
    );
    this.#fetched.set(slot, source);
  }

  #unassign(slot: number): boolean {
    const source = this.#fetched.get(slot);
    if (source === undefined) return false;
    source.end();
    return this.#fetched.delete(slot);
  }

  /** Asks the cluster; the answer is as of the moment at which the broker handles the question. */
  #ask<T>(what: string, ms: number | undefined, answer: () => T): Promise<T> {
    if (this.#isClosing) return Promise.reject(new Error("the consumer was closed"));
    const { process } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#open.add(reject);
    const settle = (end: () => void): void => {
      this.#answers.push(() => {
        this.#open.delete(reject);
        end();
      });
      this.#wake();
    };
    if (ms === undefined) {
      process.after(REQUEST_TIMEOUT_MS, () => settle(() => reject(timedOut(what))));
      return promise;
    }
    process.after(ms / 2, () => {
      let end: () => void;
      try {
        const found = answer();
        end = () => resolve(found);
      } catch (error) {
        end = () => reject(error);
      }
      process.after(ms / 2, () => settle(end));
    });
    return promise;
  }

  #wake(): void {
    const { process, onWake, observer } = this.#options;
    if (process.random() < MISSED_WAKE_UPS) return observer.wakeUpMissed();
    process.after(process.random() * MAX_WAKE_MS, onWake);
  }
}

type FetchedEntries = Extract<FetchedItem, { kind: "entries" }>;
type QueuedRebalance = Extract<EventItem, { kind: "rebalance" }>;

function timedOut(what: string): KafkaError {
  return new KafkaError(ErrorCode.timedOut, "_TIMED_OUT", `${what}: no response in ${REQUEST_TIMEOUT_MS} ms`);
}
