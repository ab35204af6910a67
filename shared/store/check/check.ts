// Reads and proves the contents of a database in one snapshot.

import { FatalError } from "../../runtime/errors.ts";
import type { StoredOffset } from "../offsets.ts";
import { assertRights } from "../rights.ts";
import type { Database, Transaction } from "../session.ts";
import { classify, describeFault } from "../sqlstate.ts";
import { checkClosedHours } from "./closed-hours.ts";
import { checkDeadLetters } from "./dead-letters.ts";
import { checkHourCounts, checkHours } from "./hours.ts";
import { assertTables, countDeadLetters, countRows, newestEvents, newestHours } from "./overview.ts";
import {
  checkAccounts,
  checkDeadLetterCounts,
  type PartitionRow,
  readPartitions,
  storedEvents,
} from "./partitions.ts";
import { checkRawEvents } from "./raw-events.ts";
import type { CheckReport, PartitionReport, UnreadPartition } from "./report.ts";

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
}

// Enough memory to group a few million rows without a file. A parallel hash would need shared memory, and a
// container has only 64 MB of it.
const SETTINGS = `set local work_mem = '128MB'; set local enable_parallel_hash = off; set local jit = off`;

/**
 * Proves that every record below the stored offsets counts exactly once, from independent figures in one REPEATABLE
 * READ snapshot. It writes nothing and blocks no worker. It takes seconds for a few million events.
 *
 * @throws FatalError for a database without our tables or with other columns; else what the driver throws
 */
export async function checkDatabase(sql: Database, { lag }: CheckOptions = {}): Promise<CheckReport> {
  try {
    return await sql.begin("isolation level repeatable read read only", (tx) => checkSnapshot(tx, lag));
  } catch (error) {
    if (classify(error) !== "schema") throw error;
    throw new FatalError(`the tables cannot be read as this version expects them: ${describeFault(error)}`, {
      cause: error,
    });
  }
}

async function checkSnapshot(tx: Transaction, lag: LagReader | undefined): Promise<CheckReport> {
  await tx.unsafe(SETTINGS);
  await assertTables(tx);
  await assertRights(tx, ["SELECT"]);
  const partitions = await readPartitions(tx);
  const current = partitions.filter(({ closed_at }) => closed_at === null);
  const lags = lag?.(
    current.map(({ topic, topic_id, partition, reading, next_offset }) => ({
      topic,
      topicId: topic_id,
      partition,
      reading,
      nextOffset: next_offset,
    })),
  );
  const stored = storedEvents(partitions);
  const hourCounts = await checkHourCounts(tx, stored);
  const rawEvents = await checkRawEvents(tx, stored, hourCounts.unsavedEvents);
  const invariants = [
    ...checkAccounts(partitions),
    ...rawEvents.invariants,
    ...hourCounts.invariants,
    ...(await checkHours(tx)),
    await checkClosedHours(tx),
    ...(await checkDeadLetterCounts(tx)),
    await checkDeadLetters(tx),
  ];
  return {
    ok: invariants.every(({ ok }) => ok),
    invariants,
    tables: await countRows(tx, rawEvents.rows),
    partitions: withLags(
      partitions,
      new Map((await lags)?.lags.map((value, index) => [current[index]!, value])),
    ),
    unread_partitions: (await lags)?.unread ?? null,
    dead_letters: await countDeadLetters(tx),
    hours: await newestHours(tx),
    newest_events: await newestEvents(tx),
  };
}

function withLags(
  partitions: readonly PartitionRow[],
  lags: ReadonlyMap<PartitionRow, number | string>,
): PartitionReport[] {
  return partitions.map((row) => {
    const lag = lags.get(row);
    return {
      ...row,
      lag: typeof lag === "number" ? lag : null,
      lag_problem: typeof lag === "string" ? lag : null,
    };
  });
}
