// Models a member of a consumer group as workers see it: the same calls, events and orders as KafkaConsumer has.

import type { TopicPartition, TopicPartitionOffset } from "../../../shared/event.ts";
import type { ConsumerEvent } from "../../../shared/kafka/consumer-event.ts";
import type { FetchStart } from "../../../shared/kafka/consumer.ts";
import { ErrorCode } from "../../../shared/kafka/error-codes.ts";
import { KafkaError } from "../../../shared/kafka/kafka-error.ts";
import type { RecordBlock } from "../../../shared/pipeline/record-block.ts";
import type { KafkaPort } from "../../../workers/consumer/ports.ts";
import type { OperatingSystemProcess } from "../operating-system-process.ts";
import type { WorkerObserver } from "../worker-observer.ts";
import type { GroupCoordinator, GroupMember, Rebalance } from "./group-coordinator.ts";
import type { KafkaCluster } from "./kafka-cluster.ts";
import { MemberFetcher } from "./member-fetcher.ts";
import { MemberQuestions, REQUEST_TIMEOUT_MS } from "./member-questions.ts";
import { type EventItem, MemberQueue } from "./member-queue.ts";

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
  readonly #fetcher: MemberFetcher;
  readonly #questions: MemberQuestions;
  readonly #owned = new Set<number>();
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

  constructor(options: MemberOptions) {
    this.name = options.name;
    this.#options = options;
    this.#events = new MemberQueue(() => this.#wake());
    this.#fetcher = new MemberFetcher(options, () => this.#wake());
    this.#questions = new MemberQuestions(options.cluster, options.process, () => this.#wake());
    this.#join();
  }

  poll(block: RecordBlock | undefined): ConsumerEvent | undefined {
    if (this.#isClosing) return undefined;
    this.#questions.giveAnswers();
    if (this.#unanswered !== undefined) return undefined;
    const event = this.#takeEvent() ?? (block && this.#fetcher.take(block));
    if (event !== undefined) this.#options.observer.polled(event);
    return event;
  }

  slot(partition: TopicPartition): number {
    return this.#fetcher.slot(partition);
  }

  topicPartition(slot: number): TopicPartition {
    return this.#fetcher.topicPartition(slot);
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
      this.#fetcher.forget(slot);
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
    const partitions = [...this.#owned].map((slot) => this.topicPartition(slot));
    const rebalance = { kind: "revoke", partitions } as const;
    const atMs = this.#options.process.ranMs();
    this.#events.push({ kind: "rebalance", rebalance, isLost: false, atMs });
  }

  fetch(partitions: readonly FetchStart[]): void {
    for (const { offset } of partitions) {
      if (!Number.isSafeInteger(offset) || offset < 0) throw new RangeError(`cannot be fetched at ${offset}`);
    }
    if (this.#isClosing) return;
    for (const partition of partitions) this.#fetcher.postpone(this.slot(partition), partition);
    if (this.#unanswered === undefined) this.#applyPostponed();
  }

  stop(partitions: readonly TopicPartition[]): void {
    if (this.#isClosing) return;
    for (const partition of partitions) this.#fetcher.postpone(this.slot(partition), undefined);
    if (this.#unanswered === undefined) this.#applyPostponed();
  }

  isMember(): boolean {
    return !this.#isClosing && this.#isMember;
  }

  position(partition: TopicPartition): number | undefined {
    return this.#isClosing ? undefined : this.#fetcher.position(this.slot(partition));
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
    return this.#questions.listOffsets(partitions, which);
  }

  topicIds(topics: readonly string[]): Promise<Map<string, string>> {
    return this.#questions.topicIds(topics);
  }

  close(): Promise<void> {
    if (this.#isClosing) return Promise.resolve();
    this.#isClosing = true;
    this.#questions.close();
    this.#fetcher.endAll();
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

  /** See `MemberFetcher.repeatNextRecord`. */
  repeatNextRecord(): void {
    this.#fetcher.repeatNextRecord();
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
      const partitions = [
        ...[...this.#owned].map((slot) => this.topicPartition(slot)),
        ...answered,
        ...given,
      ];
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

  #takeRebalance({ rebalance, isLost, atMs }: QueuedRebalance): ConsumerEvent {
    const { process, observer } = this.#options;
    this.#unanswered = rebalance;
    this.#polledAtMs = process.ranMs();
    observer.rebalancePolled(process.ranMs() - Math.max(atMs, this.#answeredAtMs));
    const partitions = [...rebalance.partitions];
    if (rebalance.kind === "assign") return { kind: "assign", partitions };
    return { kind: "revoke", partitions, lost: isLost || this.#isLost };
  }

  #takeUnanswered(kind: Rebalance["kind"]): Rebalance {
    const unanswered = this.#unanswered;
    if (unanswered?.kind !== kind) throw new Error(`there is no "${kind}" event to answer`);
    this.#unanswered = undefined;
    this.#answeredAtMs = this.#options.process.ranMs();
    return unanswered;
  }

  #applyPostponed(): void {
    const hasChanged = this.#fetcher.applyPostponed(this.#owned);
    // To librdkafka a change is the answer to a rebalance that waits in the queue.
    const waiting = hasChanged ? this.#queuedRebalances()[0] : undefined;
    if (waiting === undefined) return;
    this.#options.observer.answeredEarly();
    this.#options.group.answered(this, waiting);
  }

  #wake(): void {
    const { process, onWake, observer } = this.#options;
    if (process.random() < MISSED_WAKE_UPS) return observer.wakeUpMissed();
    process.after(process.random() * MAX_WAKE_MS, onWake);
  }
}

type QueuedRebalance = Extract<EventItem, { kind: "rebalance" }>;
