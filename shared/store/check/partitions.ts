// Proves that every record below the stored offsets is accounted for.

import type { Transaction } from "../session.ts";
import { faultsOf, type Invariant, makeInvariant, type PartitionReport } from "./report.ts";
import { count, plural } from "../../text/format.ts";

/** A row of pipeline_offsets. */
export type PartitionRow = Omit<PartitionReport, "lag" | "lag_problem">;

export async function readPartitions(tx: Transaction): Promise<PartitionRow[]> {
  const rows = await tx<
    (Omit<PartitionRow, "updated_at" | "closed_at"> & { updated_at: Date; closed_at: Date | null })[]
  >`
    select topic, topic_id, partition, reading, first_offset, next_offset, consumed, deleted, gaps, stored, duplicates,
      dead_lettered, leader_epoch, updated_at, closed_at
    from pipeline_offsets
    order by topic, topic_id, partition, reading`;
  return rows.map((row) => ({
    ...row,
    updated_at: row.updated_at.toISOString(),
    closed_at: row.closed_at?.toISOString() ?? null,
  }));
}

/** Checks the counts of each partition against its offsets and against each other. */
export function checkAccounts(partitions: readonly PartitionRow[]): Invariant[] {
  const byPartition = [...Map.groupBy(partitions, placeOf).values()];
  const where = plural(byPartition.length, "partition");
  const sum = (figure: (row: PartitionRow) => number): string => count(total(partitions, figure));
  const consumedInAll = `${sum((row) => row.consumed)} consumed`;
  return [
    makeInvariant(
      "offsets_accounted_for",
      `${where}: ${sum((row) => row.next_offset - row.first_offset)} offsets, ${consumedInAll} + ${sum((row) => row.deleted)} deleted + ${sum((row) => row.gaps)} gaps`,
      faultsOf(partitions, (row) => {
        const expected = row.next_offset - row.first_offset;
        if (expected === row.consumed + row.deleted + row.gaps) return undefined;
        return `${nameOf(row)} went from ${row.first_offset} to ${row.next_offset} (${expected}) with ${row.consumed} consumed + ${row.deleted} deleted + ${row.gaps} gaps`;
      }),
    ),
    makeInvariant(
      "records_accounted_for",
      `${where}: ${consumedInAll}, ${sum((row) => row.stored)} stored + ${sum((row) => row.duplicates)} duplicates + ${sum((row) => row.dead_lettered)} dead letters`,
      faultsOf(partitions, (row) => {
        if (row.consumed === row.stored + row.duplicates + row.dead_lettered) return undefined;
        return `${nameOf(row)} consumed ${row.consumed}, with ${row.stored} stored + ${row.duplicates} duplicates + ${row.dead_lettered} dead letters`;
      }),
    ),
    makeInvariant(
      "one_current_reading",
      `${plural(byPartition.length, "partition")}, ${plural(partitions.length - byPartition.length, "earlier reading")}`,
      faultsOf(byPartition, (readings) => {
        const last = readings.length - 1;
        const isRight = readings.every(
          ({ reading, closed_at }, index) => reading === index && (closed_at === null) === (index === last),
        );
        if (isRight) return undefined;
        const states = readings.map(
          ({ reading, closed_at }) => `${reading} ${closed_at === null ? "current" : "closed"}`,
        );
        return `${placeOf(readings[0]!)} has the readings ${states.join(", ")}`;
      }),
    ),
    makeInvariant(
      "counters_not_negative",
      `${where} with 8 counters each`,
      faultsOf(partitions, (row) => {
        const { first_offset, next_offset, consumed, deleted, gaps, stored, duplicates, dead_lettered } = row;
        const counters = {
          first_offset,
          next_offset,
          consumed,
          deleted,
          gaps,
          stored,
          duplicates,
          dead_lettered,
        };
        const negative = Object.entries(counters).filter(([, value]) => value < 0);
        if (negative.length === 0) return undefined;
        return `${nameOf(row)} has ${negative.map(([name, value]) => `${name} ${value}`).join(", ")}`;
      }),
    ),
  ];
}

/** Events stored, by the counts of the partitions. */
export function storedEvents(partitions: readonly PartitionRow[]): number {
  return total(partitions, (row) => row.stored);
}

interface LetterCountRow {
  topic: string;
  topic_id: string;
  partition: number;
  reading: number;
  letters: number;
  /** Of the letters: those that were replayed, and those that were discarded. */
  replayed_letters: number;
  discarded_letters: number;
  /** Letters that retention has deleted: those that were not replayed, the discarded among them, and those replayed. */
  pruned: number;
  pruned_discarded: number;
  pruned_replayed: number;
  outside: number;
  /** Null where pipeline_offsets has no such partition, like the figures below. */
  dead_lettered: number | null;
  replayed: number | null;
  discarded: number | null;
  first_offset: number | null;
  next_offset: number | null;
}

/** Checks that each partition has as many dead letters of each state as it counts, all from the offsets that it has read. */
export async function checkDeadLetterCounts(tx: Transaction): Promise<Invariant[]> {
  const rows = await tx<LetterCountRow[]>`
    with letters as (
      select d.topic, d.topic_id, d.partition, d.reading, count(*) as letters,
        count(*) filter (where d.state in ('stored', 'duplicate')) as replayed_letters,
        count(*) filter (where d.state = 'discarded') as discarded_letters,
        count(*) filter (where o.topic is null or d."offset" < o.first_offset or d."offset" >= o.next_offset) as outside
      from dead_letter_events d left join pipeline_offsets o using (topic, topic_id, partition, reading)
      group by d.topic, d.topic_id, d.partition, d.reading
    ), pruned as (
      select topic, topic_id, partition, reading,
        sum(p.letters) filter (where state in ('open', 'discarded')) as pruned,
        sum(p.letters) filter (where state = 'discarded') as pruned_discarded,
        sum(p.letters) filter (where state in ('stored', 'duplicate')) as pruned_replayed
      from pruned_dead_letters p
      group by topic, topic_id, partition, reading
    )
    select topic, topic_id, partition, reading, coalesce(letters, 0) as letters, coalesce(outside, 0) as outside,
      coalesce(replayed_letters, 0) as replayed_letters, coalesce(discarded_letters, 0) as discarded_letters,
      coalesce(pruned, 0)::bigint as pruned, coalesce(pruned_discarded, 0)::bigint as pruned_discarded,
      coalesce(pruned_replayed, 0)::bigint as pruned_replayed,
      dead_lettered, replayed, discarded, first_offset, next_offset
    from letters full join pruned using (topic, topic_id, partition, reading)
      full join pipeline_offsets using (topic, topic_id, partition, reading)
    order by topic, topic_id, partition, reading`;
  const kept = count(total(rows, (row) => row.letters));
  const pruned = total(rows, (row) => row.pruned + row.pruned_replayed);
  const sum = (figure: (row: LetterCountRow) => number | null): string =>
    count(total(rows, (row) => figure(row) ?? 0));
  return [
    makeInvariant(
      "dead_letters_kept",
      `${sum((row) => row.dead_lettered)} dead letters counted, ${sum((row) => row.discarded)} of them discarded, and ${sum((row) => row.replayed)} replayed; ${kept} rows${pruned === 0 ? "" : ` + ${count(pruned)} pruned`}`,
      faultsOf(rows, (row) => {
        const { letters, replayed_letters, discarded_letters } = row;
        const counted = [row.dead_lettered ?? 0, row.discarded ?? 0, row.replayed ?? 0];
        const found = [
          letters - replayed_letters + row.pruned,
          discarded_letters + row.pruned_discarded,
          replayed_letters + row.pruned_replayed,
        ];
        if (counted.every((figure, index) => figure === found[index])) return undefined;
        return `${nameOf(row)} counted ${counted[0]} and has ${found[0]}, ${counted[1]} discarded and has ${found[1]}, ${counted[2]} replayed and has ${found[2]}`;
      }),
    ),
    makeInvariant(
      "dead_letters_within_offsets",
      `${kept} dead letters`,
      faultsOf(rows, (row) => {
        if (row.outside === 0) return undefined;
        const letters = `${count(row.outside)} of ${nameOf(row)}`;
        return row.next_offset === null
          ? `${letters}, which is not in pipeline_offsets`
          : `${letters} outside of [${row.first_offset}, ${row.next_offset})`;
      }),
    ),
  ];
}

type Place = Pick<PartitionRow, "topic" | "topic_id" | "partition">;

function placeOf({ topic, topic_id, partition }: Place): string {
  return `${topic}[${partition}] (topic id ${topic_id})`;
}

function nameOf(row: Place & Pick<PartitionRow, "reading">): string {
  return row.reading === 0 ? placeOf(row) : `reading ${row.reading} of ${placeOf(row)}`;
}

function total<Row>(rows: readonly Row[], figure: (row: Row) => number): number {
  return rows.reduce((sum, row) => sum + figure(row), 0);
}
