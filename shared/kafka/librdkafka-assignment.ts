// Keeps librdkafka's assignment in step with the partitions that we own and want to fetch.
//
// A partition is owned (the group gave it to us) and, independently, fetched (librdkafka reads it). Assigning and
// unassigning it in librdkafka is the one mechanism for starting late, pausing, resyncing and seeking. It rests on
// facts from librdkafka's sources (rdkafka_assignment.c, rdkafka_cgrp.c):
//   - librdkafka keeps what the group gave it (rkcg_group_assignment) apart from what is assigned. So an ASSIGN may be
//     answered with fewer partitions, or none, and the others may be assigned at any later time.
//   - To unassign a partition that is not assigned is an error. So a REVOKE is answered with the fetched ones only.
//   - Unassigning raises the partition's version before it returns: records fetched before are dropped when they are
//     polled. Assigning again waits until the fetcher has stopped.
//   - A change of ours during a rebalance would count as its answer. So the change is postponed until after the
//     answer. A rebalance that waits in the queue, not yet polled, cannot be seen: its events still come in order and
//     each is answered, but another consumer may get the partitions meanwhile. So a writer must compare the
//     partition's stored offset. Our change also makes librdkafka forget that partitions are lost, so we ask first.
//   - Only a seek makes librdkafka compare the position with the leader's log before it fetches (rdkafka_partition.c:
//     rd_kafka_toppar_seek does, rd_kafka_toppar_fetch_start does not). So a partition with a known leader epoch is
//     assigned paused, sought to the same position, and resumed.
//   - The records of a partition go to our queue, apart from the group's events, by a forward of its queue. A stop ends
//     the forward (rd_kafka_toppar_fetch_stop), and librdkafka does not set its own again where we have ever set one
//     (RD_KAFKA_Q_F_FWD_APP): without the next forward the partition would deliver nothing, without an error. So each
//     start forwards again, after the stop has ended.
//
// All of this is for cooperative rebalances (cooperative-sticky, KIP-848); the configuration admits no others.
import type { TopicPartition } from "../event.ts";
import type { Client } from "./client.ts";
import type { Library } from "./ffi/library.ts";
import type { Pointer } from "./ffi/memory.ts";
import { readPartitions, type StartPosition } from "./ffi/partition-list.ts";
import { ErrorCode } from "./error-codes.ts";
import type { PartitionTable } from "./partition-table.ts";

/** Where to start each partition, by slot. */
type StartPositions = ReadonlyMap<number, StartPosition>;

/** Seeking waits for librdkafka's main thread only, which takes microseconds. */
const SEEK_TIMEOUT_MS = 1000;

interface Rebalance {
  readonly kind: "assign" | "revoke";
  readonly slots: readonly number[];
}

/** The owned and the fetched partitions of one consumer, by slot. */
export class LibrdkafkaAssignment {
  readonly #client: Client;
  readonly #library: Library;
  readonly #table: PartitionTable;
  readonly #records: Pointer;
  /** By slot: the partitions that the group gave us. */
  readonly #owned = new Set<number>();
  /** By slot: the partitions that librdkafka has assigned. */
  readonly #fetched = new Set<number>();
  /** By slot: changes that wait for the answer to a rebalance; undefined is a stop. */
  readonly #postponed = new Map<number, StartPosition | undefined>();
  /** By slot: the fetched partitions that are paused until they can be sought to their position. */
  readonly #unvalidated = new Map<number, StartPosition>();
  #unanswered: Rebalance | undefined;
  #lost = false;
  #leaving = false;

  /** @param records the queue that receives the records of all partitions */
  constructor(client: Client, table: PartitionTable, records: Pointer) {
    this.#client = client;
    this.#library = client.library;
    this.#table = table;
    this.#records = records;
  }

  /** The kind of the rebalance that waits for its answer. */
  get unanswered(): Rebalance["kind"] | undefined {
    return this.#unanswered?.kind;
  }

  /** Takes an ASSIGN event: the group gives us partitions. */
  assigned(partitions: readonly TopicPartition[]): void {
    this.#unanswered = { kind: "assign", slots: this.#slots(partitions) };
  }

  /** Takes a REVOKE event. @returns whether the partitions are lost: others may own them already */
  revoked(partitions: readonly TopicPartition[]): boolean {
    this.#noteLoss();
    const lost = this.#lost;
    this.#lost = false;
    this.#unanswered = { kind: "revoke", slots: this.#slots(partitions) };
    return lost;
  }

  acknowledgeAssign(starts: StartPositions): void {
    for (const slot of this.#takeUnanswered("assign")) this.#owned.add(slot);
    // Also when there is nothing to assign: this is the answer.
    this.#assign([...starts].filter(([slot]) => this.#owned.has(slot) && !this.#fetched.has(slot)));
    this.#applyPostponed();
  }

  acknowledgeRevoke(): void {
    const slots = this.#takeUnanswered("revoke");
    const fetched = slots.filter((slot) => this.#fetched.has(slot));
    for (const slot of slots) {
      this.#owned.delete(slot);
      this.#postponed.delete(slot);
    }
    this.#unassign(fetched);
    this.#applyPostponed();
  }

  /** Starts or moves partitions; those that are not owned are left out. */
  start(starts: StartPositions): void {
    for (const [slot, position] of starts) this.#postponed.set(slot, position);
    if (this.#unanswered === undefined) this.#applyPostponed();
  }

  stop(slots: readonly number[]): void {
    for (const slot of slots) this.#postponed.set(slot, undefined);
    if (this.#unanswered === undefined) this.#applyPostponed();
  }

  /**
   * Lets librdkafka compare positions with the leaders' logs, and then fetch. librdkafka postpones the start of an
   * assigned partition while commits are under way; so this is to be called until it has done all.
   */
  validate(): void {
    if (this.#unvalidated.size === 0) return;
    const { c } = this.#library;
    const { handle } = this.#client;
    const waiting = [...this.#unvalidated];
    const partitions = waiting.map(([slot, position]) => ({
      ...this.#table.topicPartition(slot),
      ...position,
    }));
    this.#library.withPartitions(partitions, (list) => {
      // A partition that is not started yet has an error; it is sought the next time.
      this.#library.takeError(c.rd_kafka_seek_partitions(handle, list, SEEK_TIMEOUT_MS), "seek");
      for (const [index, { errorCode }] of readPartitions(list).entries()) {
        if (errorCode !== ErrorCode.none) continue;
        const [slot] = waiting[index]!;
        this.#unvalidated.delete(slot);
        this.#resume([slot]);
      }
    });
  }

  stopAll(): void {
    this.stop([...this.#fetched]);
  }

  /**
   * Prepares for leaving the group, after every rebalance event was answered. A closing librdkafka may drop a request
   * without ever answering it (rd_kafka_cgrp_op_serve when terminated). From here on the only requests are answers to
   * rebalances, because librdkafka waits for those.
   */
  leave(): void {
    this.#leaving = true;
    this.#postponed.clear();
  }

  #applyPostponed(): void {
    const changes = [...this.#postponed];
    this.#postponed.clear();
    const stopped = changes.map(([slot]) => slot).filter((slot) => this.#fetched.has(slot));
    const started = changes.flatMap(([slot, position]): [number, StartPosition][] =>
      position !== undefined && this.#owned.has(slot) ? [[slot, position]] : [],
    );
    if (stopped.length === 0 && started.length === 0) return;
    this.#noteLoss();
    if (stopped.length > 0) this.#unassign(stopped);
    if (started.length > 0) this.#assign(started);
  }

  /** Assigns partitions besides those that are fetched. */
  #assign(starts: readonly (readonly [slot: number, position: StartPosition])[]): void {
    const { c } = this.#library;
    const { handle } = this.#client;
    for (const [slot, position] of starts) {
      this.#fetched.add(slot);
      this.#table.nextOffset[slot] = Math.max(position.offset, 0);
      this.#library.forward(handle, this.#table.topicPartition(slot), this.#records);
      if (position.leaderEpoch !== undefined) this.#unvalidated.set(slot, position);
    }
    this.#pause([...this.#unvalidated.keys()]);
    const partitions = starts.map(([slot, position]) => ({
      ...this.#table.topicPartition(slot),
      ...position,
    }));
    this.#library.withPartitions(partitions, (list) =>
      this.#library.throwError(c.rd_kafka_incremental_assign(handle, list), "incremental assign"),
    );
    this.validate();
  }

  #unassign(slots: readonly number[]): void {
    for (const slot of slots) this.#fetched.delete(slot);
    // Also when there is nothing to unassign: this may be the answer to a rebalance.
    this.#withSlots(slots, (list) =>
      this.#library.throwError(
        this.#library.c.rd_kafka_incremental_unassign(this.#client.handle, list),
        "incremental unassign",
      ),
    );
    this.#awaitStops();
    // librdkafka remembers the pause of a partition that is not assigned.
    this.#resume(slots.filter((slot) => this.#unvalidated.delete(slot)));
  }

  #pause(slots: readonly number[]): void {
    if (slots.length === 0) return;
    this.#withSlots(slots, (list) => this.#library.c.rd_kafka_pause_partitions(this.#client.handle, list));
  }

  #resume(slots: readonly number[]): void {
    if (slots.length === 0) return;
    this.#withSlots(slots, (list) => this.#library.c.rd_kafka_resume_partitions(this.#client.handle, list));
  }

  #withSlots(slots: readonly number[], work: (list: Pointer) => void): void {
    const partitions = slots.map((slot) => this.#table.topicPartition(slot));
    this.#library.withPartitions(partitions, work);
  }

  /**
   * Waits until the stopped fetchers have ended (microseconds). librdkafka 2.15 aborts the process
   * when a partition is unassigned, assigned and unassigned again before that (rdkafka_assignment.c, assertion
   * `rktp->rktp_started`). Its main thread takes requests in order: the first one is answered after the stops were
   * done, the second after they were reported.
   */
  #awaitStops(): void {
    if (this.#leaving) return;
    const { c } = this.#library;
    c.rd_kafka_rebalance_protocol(this.#client.handle);
    c.rd_kafka_rebalance_protocol(this.#client.handle);
  }

  #slots(partitions: readonly TopicPartition[]): number[] {
    return partitions.map((partition) => this.#table.slot(partition));
  }

  #takeUnanswered(kind: Rebalance["kind"]): readonly number[] {
    const unanswered = this.#unanswered;
    if (unanswered?.kind !== kind) throw new Error(`there is no "${kind}" event to answer`);
    this.#unanswered = undefined;
    return unanswered.slots;
  }

  /** Our changes make librdkafka forget a loss; it belongs to the next revocation. */
  #noteLoss(): void {
    if (this.#library.c.rd_kafka_assignment_lost(this.#client.handle) !== 0) this.#lost = true;
  }
}
