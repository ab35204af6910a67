// Rebalances and their answers, starts, stops and moves in; what librdkafka has assigned, thus fetches, out.
//
// A partition is owned (the group gave it to us) and, independently, fetched (librdkafka reads it). Assigning and
// unassigning it in librdkafka is the one mechanism for starting late, pausing, resyncing and seeking. Facts from
// librdkafka's sources (rdkafka_assignment.c, rdkafka_cgrp.c) that this rests on:
//   - the group's idea of ownership (rkcg_group_assignment) is kept apart from what is assigned, so an ASSIGN may be
//     answered with fewer partitions, or none, and the others assigned at any later time;
//   - unassigning what is not assigned is an error, so a REVOKE is answered with those that are fetched;
//   - unassigning raises the partition's version before it returns: records that were fetched before are dropped
//     when they are polled, and assigning again waits until the fetcher has stopped;
//   - a change of ours during a rebalance is taken for its answer, so it is postponed until that was given. The
//     rebalance may also wait in the queue, not polled yet; then this cannot be helped. Its events still come in
//     their order and each is answered, but another consumer may get the partitions meanwhile: to write for a
//     partition, compare its offset. And librdkafka forgets that partitions are lost, so we look first.
import type { TopicPartition } from "../event.ts";
import type { Client } from "./client.ts";
import type { Library, Returned } from "./ffi/library.ts";
import type { PartitionTable } from "./partition-table.ts";

/** Offsets by slot. */
export type Places = ReadonlyMap<number, number>;

interface Rebalance {
  readonly kind: "assign" | "revoke";
  readonly slots: readonly number[];
}

export class LibrdkafkaAssignment {
  readonly #client: Client;
  readonly #library: Library;
  readonly #table: PartitionTable;
  /** By slot: the partitions that the group gave us. */
  readonly #owned = new Set<number>();
  /** The partitions that librdkafka has assigned, with the offset that they began at. */
  readonly #fetched = new Map<number, number>();
  /** By slot: changes asked for while a rebalance waited for its answer; undefined is a stop. */
  readonly #postponed = new Map<number, number | undefined>();
  #unanswered: Rebalance | undefined;
  /** The assignor gives and takes all partitions at once, so librdkafka wants the whole assignment each time. */
  #eager = false;
  #lost = false;
  #leaving = false;

  constructor(client: Client, table: PartitionTable) {
    this.#client = client;
    this.#library = client.library;
    this.#table = table;
  }

  /** The kind of the rebalance that waits for its answer. */
  get unanswered(): Rebalance["kind"] | undefined {
    return this.#unanswered?.kind;
  }

  /** An event came: the partitions are ours. */
  assigned(partitions: readonly TopicPartition[]): void {
    this.#noteProtocol();
    this.#unanswered = { kind: "assign", slots: this.#slots(partitions) };
  }

  /** An event came: the partitions go. @returns whether they are lost, so that others may have them already */
  revoked(partitions: readonly TopicPartition[]): boolean {
    this.#noteProtocol();
    this.#noteLoss();
    const lost = this.#lost;
    this.#lost = false;
    this.#unanswered = { kind: "revoke", slots: this.#slots(partitions) };
    return lost;
  }

  acknowledgeAssign(places: Places): void {
    for (const slot of this.#takeUnanswered("assign")) this.#owned.add(slot);
    if (this.#eager) this.#fetched.clear();
    const started = [...places].filter(([slot]) => this.#owned.has(slot) && !this.#fetched.has(slot));
    // Also when there is nothing to assign: this is the answer.
    this.#assign(new Map(started));
    this.#change();
  }

  acknowledgeRevoke(): void {
    const slots = this.#takeUnanswered("revoke");
    const fetched = slots.filter((slot) => this.#fetched.has(slot));
    for (const slot of slots) {
      this.#owned.delete(slot);
      this.#postponed.delete(slot);
    }
    if (this.#eager) {
      this.#fetched.clear();
      this.#library.check(this.#library.c.rd_kafka_assign(this.#client.handle, null), "unassign");
      this.#awaitStops();
    } else {
      this.#unassign(fetched);
    }
    this.#change();
  }

  /** Starts or moves partitions; those that are not owned are left out. */
  start(places: Places): void {
    for (const [slot, offset] of places) this.#postponed.set(slot, offset);
    if (this.#unanswered === undefined) this.#change();
  }

  stop(slots: readonly number[]): void {
    for (const slot of slots) this.#postponed.set(slot, undefined);
    if (this.#unanswered === undefined) this.#change();
  }

  stopAll(): void {
    this.stop([...this.#fetched.keys()]);
  }

  /**
   * The group is about to be left; every rebalance that came was answered. From here on librdkafka may drop a
   * question without an answer, for ever (rd_kafka_cgrp_op_serve when terminated): nothing may be asked but
   * in answer to a rebalance, for which it waits.
   */
  leave(): void {
    this.#leaving = true;
    this.#postponed.clear();
  }

  /** Does what was asked for. */
  #change(): void {
    const asked = [...this.#postponed];
    this.#postponed.clear();
    const stopped = asked.flatMap(([slot]) => (this.#fetched.has(slot) ? [slot] : []));
    const started = new Map<number, number>();
    for (const [slot, offset] of asked) {
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

  /** Assigns partitions besides those that are fetched. */
  #assign(places: Places): void {
    const { c } = this.#library;
    const { handle } = this.#client;
    if (this.#eager) {
      // All at once: the others are assigned again, and go on where they are. (rd_kafka_position may still be
      // that of an assignment before the last.)
      for (const [slot, start] of this.#fetched) {
        const next = this.#table.nextOffset[slot]!;
        this.#fetched.set(slot, next > start ? next : start);
      }
    }
    for (const [slot, offset] of places) {
      this.#fetched.set(slot, offset);
      this.#table.nextOffset[slot] = Math.max(offset, 0);
    }
    const assigned = this.#eager ? this.#fetched : places;
    const partitions = [...assigned].map(([slot, offset]) => ({
      ...this.#table.topicPartition(slot),
      offset,
    }));
    this.#library.withPartitions(partitions, (list) => {
      if (this.#eager) this.#library.check(c.rd_kafka_assign(handle, list), "assign");
      else this.#throwError(c.rd_kafka_incremental_assign(handle, list), "incremental assign");
    });
    if (this.#eager) this.#awaitStops();
  }

  #unassign(slots: readonly number[]): void {
    const { c } = this.#library;
    for (const slot of slots) this.#fetched.delete(slot);
    const partitions = slots.map((slot) => this.#table.topicPartition(slot));
    this.#library.withPartitions(partitions, (list) =>
      this.#throwError(c.rd_kafka_incremental_unassign(this.#client.handle, list), "incremental unassign"),
    );
    this.#awaitStops();
  }

  /**
   * Waits until fetchers that were told to stop have stopped (microseconds). librdkafka 2.15 aborts the process
   * when a partition is unassigned, assigned and unassigned again before that (rdkafka_assignment.c, assertion
   * `rktp->rktp_started`). Its main thread takes its work in order: the first question comes back after the
   * stops were done, the second after they were reported.
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

  /** After the group was lost there is none; what was assigned under the last one goes by its rules. */
  #noteProtocol(): void {
    const protocol = this.#library.c.rd_kafka_rebalance_protocol(this.#client.handle);
    if (protocol === "EAGER" || protocol === "COOPERATIVE") this.#eager = protocol === "EAGER";
  }

  /** Our changes make librdkafka forget a loss; it belongs to the next revocation. */
  #noteLoss(): void {
    if (this.#library.c.rd_kafka_assignment_lost(this.#client.handle) !== 0) this.#lost = true;
  }

  #throwError(error: Returned, what: string): void {
    const taken = this.#library.takeError(error, what);
    if (taken) throw taken;
  }
}
