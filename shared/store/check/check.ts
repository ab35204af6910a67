// Reads and proves the contents of a database in one snapshot.

import { codeOf, FatalError } from "../../runtime/errors.ts";
import type { StoredOffset } from "../offsets.ts";
import { assertRights } from "../rights.ts";
import type { Database, Transaction } from "../session.ts";
import { inSnapshot } from "../snapshot.ts";
import { classify, describeFault } from "../sqlstate.ts";
import { checkClosedHours } from "./closed-hours.ts";
import { checkDeadLetters } from "./dead-letters.ts";
import { checkHourCounts } from "./hour-counts.ts";
import { checkHours } from "./hours.ts";
import { assertTables, countDeadLetters, countRows, newestEvents, newestHours } from "./overview.ts";
import {
  checkAccounts,
  checkDeadLetterCounts,
  type PartitionRow,
  readPartitions,
  storedEvents,
} from "./partitions.ts";
import { checkRawEvents } from "./raw-events.ts";
import { checkSealedHours, readTrustedHours } from "./sealed-hours.ts";
import type { CheckScope } from "./scope.ts";
import type { CheckReport, Invariant, PartitionReport, UnreadPartition } from "./report.ts";

/** What Kafka says of the stored partitions, and of others. */
export interface KafkaLags {
  /** In the order of the stored partitions: records, or the reason why the lag is unknown. */
  readonly lags: readonly (number | string)[];
  /** Partitions of the configured topics that are not stored; undefined where Kafka does not answer. */
  readonly unread: readonly UnreadPartition[] | undefined;
}

/** Asks Kafka. It must not reject: an unreachable Kafka is no fault of the database. */
export type LagReader = (partitions: readonly StoredOffset[]) => Promise<KafkaLags>;

export interface CheckOptions {
  /** Runs while the database is read. Without it the lag is unknown. */
  readonly lag?: LagReader;
  /** ISO 8601, UTC: the first hour whose raw events and users are read; earlier hours are taken on trust. */
  readonly since?: string | undefined;
  /** How long the snapshot may stay open; by default without an end. */
  readonly minutes?: number;
}

const QUERY_CANCELED = "57014";

/**
 * Proves that every record below the stored offsets counts exactly once, from independent figures in one REPEATABLE
 * READ snapshot. It writes nothing and takes no lock that a worker waits for, but while its snapshot is open each
 * commit gets slower (README, "An open snapshot"). It takes seconds for a few million events.
 *
 * @throws FatalError for a database without our tables or with other columns, or when the time is over; else what the
 *   driver throws
 */
export async function checkDatabase(
  sql: Database,
  { lag, since, minutes = 0 }: CheckOptions = {},
): Promise<CheckReport> {
  try {
    const { invariants, partitions, lags, ...figures } = await inSnapshot(sql, (tx) =>
      checkSnapshot(tx, { since }, lag, minutes),
    );
    invariants.push(await checkDeadLetters(sql));
    return {
      ok: invariants.every(({ ok }) => ok),
      invariants,
      trusted_hours: figures.trusted_hours,
      tables: figures.tables,
      partitions: withLags(partitions, await lags),
      unread_partitions: (await lags)?.unread ?? null,
      dead_letters: figures.dead_letters,
      dead_letter_states: figures.dead_letter_states,
      hours: figures.hours,
      newest_events: figures.newest_events,
    };
  } catch (error) {
    throw explained(error, minutes);
  }
}

function explained(error: unknown, minutes: number): unknown {
  if (codeOf(error) === QUERY_CANCELED && minutes > 0) {
    return new FatalError(
      `the check was ended after ${minutes} minutes, because its snapshot slows every commit: give it longer with --minutes, ` +
        "when few records arrive, or check a standby",
      { cause: error },
    );
  }
  if (classify(error) !== "schema") return error;
  return new FatalError(`the tables cannot be read as this version expects them: ${describeFault(error)}`, {
    cause: error,
  });
}

interface Lags extends Pick<KafkaLags, "unread"> {
  readonly ofPartition: ReadonlyMap<PartitionRow, number | string>;
}

/** What comes from the snapshot. */
type Figures = Pick<
  CheckReport,
  "trusted_hours" | "tables" | "dead_letters" | "dead_letter_states" | "hours" | "newest_events"
> & {
  readonly invariants: Invariant[];
  readonly partitions: readonly PartitionRow[];
  /** To be awaited when the snapshot is closed. */
  readonly lags: Promise<Lags | undefined>;
};

async function checkSnapshot(
  tx: Transaction,
  scope: CheckScope,
  lag: LagReader | undefined,
  minutes: number,
): Promise<Figures> {
  const limit = timeLimit(tx, minutes);
  await assertTables(tx);
  await assertRights(tx, ["SELECT"]);
  const partitions = await readPartitions(tx);
  const lags = readLags(partitions, lag);
  const stored = storedEvents(partitions);
  const hourCounts = await checkHourCounts(tx, stored, scope);
  await limit();
  const rawEvents = await checkRawEvents(tx, stored, hourCounts.sums, scope);
  await limit();
  const hours = await checkHours(tx, scope);
  await limit();
  const closedHours = await checkClosedHours(tx, scope);
  await limit();
  return {
    invariants: [
      ...checkAccounts(partitions),
      ...rawEvents.invariants,
      ...hourCounts.invariants,
      ...hours,
      closedHours,
      await checkSealedHours(tx),
      ...(await checkDeadLetterCounts(tx)),
    ],
    trusted_hours: await readTrustedHours(tx, scope),
    tables: await countRows(tx, rawEvents.rows, scope),
    partitions,
    lags,
    ...(await countDeadLetters(tx)),
    hours: await newestHours(tx),
    newest_events: await newestEvents(tx),
  };
}

/** @returns sets the limit of the next statement to the time that is left; 0 minutes = no limit */
function timeLimit(tx: Transaction, minutes: number): () => Promise<void> {
  const endMs = performance.now() + minutes * 60_000;
  return async () => {
    if (minutes === 0) return;
    const leftMs = Math.max(1, Math.round(endMs - performance.now()));
    await tx.unsafe(`set local statement_timeout = '${leftMs}ms'`);
  };
}

async function readLags(
  partitions: readonly PartitionRow[],
  lag: LagReader | undefined,
): Promise<Lags | undefined> {
  if (lag === undefined) return undefined;
  const current = partitions.filter(({ closed_at }) => closed_at === null);
  const { lags, unread } = await lag(
    current.map(({ topic, topic_id, partition, reading, next_offset }) => ({
      topic,
      topicId: topic_id,
      partition,
      reading,
      nextOffset: next_offset,
    })),
  );
  return { ofPartition: new Map(lags.map((value, index) => [current[index]!, value])), unread };
}

function withLags(partitions: readonly PartitionRow[], lags: Lags | undefined): PartitionReport[] {
  return partitions.map((row) => {
    const lag = lags?.ofPartition.get(row);
    return {
      ...row,
      lag: typeof lag === "number" ? lag : null,
      lag_problem: typeof lag === "string" ? lag : null,
    };
  });
}
