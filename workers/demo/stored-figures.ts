// A session with the pipeline's database in; what stands in its tables out.
import type { Session } from "../../shared/store/session.ts";
import type { DeadLetterRow, HourRow } from "./snapshot.ts";

/** One row of pipeline_offsets. */
export interface StoredPartition {
  readonly partition: number;
  readonly nextOffset: number;
  readonly consumed: number;
  readonly stored: number;
  readonly duplicates: number;
  readonly deadLettered: number;
}

const MOST_HOUR_ROWS = 100;
const NEWEST_DEAD_LETTERS = 5;

/** Every partition that the consumer has begun. */
export async function readPartitions(session: Session): Promise<StoredPartition[]> {
  const rows = await session.run(
    (sql) => sql<StoredPartition[]>`
      select "partition", next_offset as "nextOffset", consumed, stored, duplicates, dead_lettered as "deadLettered"
      from pipeline_offsets order by "partition"`,
  );
  return [...rows];
}

/** Newest hour first, the most frequent type of each first. */
export async function readHours(session: Session): Promise<HourRow[]> {
  const rows = await session.run(
    (sql) => sql<HourRow[]>`
      select aggregation_hour as hour, event_type as "eventType", total_events as events,
             unique_users as "uniqueUsers", avg_duration_seconds::float8 as "averageSeconds"
      from hourly_aggregations
      order by aggregation_hour desc, total_events desc, event_type limit ${MOST_HOUR_ROWS}`,
  );
  return [...rows];
}

/** The most frequent reason first. */
export async function readDeadLetters(session: Session): Promise<{ reason: string; count: number }[]> {
  const rows = await session.run(
    (sql) => sql<{ reason: string; count: number }[]>`
      select reason, count(*) as count from dead_letter_events group by reason order by count(*) desc, reason`,
  );
  return [...rows];
}

/** The newest first. */
export async function readNewestDeadLetters(session: Session): Promise<DeadLetterRow[]> {
  const rows = await session.run(
    (sql) => sql<DeadLetterRow[]>`
      select "partition", "offset", reason, error from dead_letter_events
      order by first_seen_at desc, "partition", "offset" desc limit ${NEWEST_DEAD_LETTERS}`,
  );
  return [...rows];
}

/** What the database takes on disk. */
export async function readDatabaseBytes(session: Session): Promise<number | undefined> {
  const [row] = await session.run(
    (sql) => sql<{ bytes: number }[]>`select pg_database_size(current_database()) as bytes`,
  );
  return row?.bytes;
}
