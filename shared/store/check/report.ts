// Defines what a check reports: figures of each table, and invariants that hold or not, with their figures.

import { count } from "../../text/format.ts";

/** A proof: something that must hold in every snapshot of the database. */
export interface Invariant {
  /** Stable, snake_case. */
  readonly name: string;
  readonly ok: boolean;
  /** For a person: the figures compared, and the contradictions. */
  readonly detail: string;
}

/** A row of pipeline_offsets and its lag. */
export interface PartitionReport {
  readonly topic: string;
  readonly topic_id: string;
  readonly partition: number;
  readonly reading: number;
  readonly first_offset: number;
  readonly next_offset: number;
  readonly consumed: number;
  readonly deleted: number;
  readonly gaps: number;
  readonly stored: number;
  readonly duplicates: number;
  readonly dead_lettered: number;
  /** Of the last record below `next_offset`; null where it is not known. */
  readonly leader_epoch: number | null;
  /** ISO 8601, UTC. */
  readonly updated_at: string;
  /** ISO 8601, UTC; null for the current reading of a partition. */
  readonly closed_at: string | null;
  /** Records; null where it is unknown. */
  readonly lag: number | null;
  /** Why the lag is unknown; null where it is known or was not requested. */
  readonly lag_problem: string | null;
}

/** A partition of a configured topic that has no row in pipeline_offsets. */
export interface UnreadPartition {
  readonly topic: string;
  readonly topic_id: string;
  readonly partition: number;
  /** Records that Kafka holds; null where Kafka does not say. */
  readonly records: number | null;
}

/** A row of hourly_aggregations. */
export interface HourReport {
  /** ISO 8601, UTC. */
  readonly aggregation_hour: string;
  readonly event_type: string;
  readonly total_events: number;
  readonly unique_users: number;
  readonly total_duration_seconds: number;
  readonly avg_duration_seconds: number | null;
  readonly unsaved_events: number;
  readonly late_events: number;
  /** ISO 8601, UTC; null while the hour is open. */
  readonly closed_at: string | null;
}

/** A row of raw_events, without its data. */
export interface EventReport {
  readonly event_id: string;
  readonly user_id: string;
  readonly event_type: string;
  /** ISO 8601, UTC. */
  readonly timestamp: string;
  readonly processed_at: string;
}

/** Hours that a check has not proved from raw events. */
export interface TrustedHours {
  /** ISO 8601, UTC. */
  readonly before: string;
  /** Hours and types. */
  readonly hours: number;
  /** Of them: those that were compared with their seals. */
  readonly sealed_hours: number;
  readonly events: number;
}

/** Everything that a check finds; `check --json` prints it unchanged. */
export interface CheckReport {
  /** True where every invariant is. */
  readonly ok: boolean;
  readonly invariants: readonly Invariant[];
  /** Hours before `--since`; null where all were proved. */
  readonly trusted_hours: TrustedHours | null;
  /** Rows by table; of raw_events and hourly_users those that were read. */
  readonly tables: Readonly<Record<string, number>>;
  readonly partitions: readonly PartitionReport[];
  /** Partitions of the configured topics that were never read into this database; null where Kafka was not asked or does not answer. */
  readonly unread_partitions: readonly UnreadPartition[] | null;
  /** Rows of dead_letter_events by reason. */
  readonly dead_letters: Readonly<Record<string, number>>;
  /** The same rows by state: open, stored or duplicate (replayed), discarded. */
  readonly dead_letter_states: Readonly<Record<string, number>>;
  /** The newest hours; all of them are counted in `tables`. */
  readonly hours: readonly HourReport[];
  readonly newest_events: readonly EventReport[];
}

/** The contradictions of an invariant: their number, and a few samples in words. */
export interface Faults {
  readonly count: number;
  readonly samples: readonly string[];
}

/** The number of contradictions that are spelled out; the others are counted. */
export const MAX_SAMPLES = 3;

/** @param figures the figures compared; contradictions are appended to them */
export function makeInvariant(name: string, figures: string, { count: faults, samples }: Faults): Invariant {
  if (faults === 0) return { name, ok: true, detail: figures };
  const more = faults > samples.length ? `; and ${count(faults - samples.length)} more` : "";
  return { name, ok: false, detail: `${figures}; wrong: ${samples.join("; ")}${more}` };
}

/** @param explain returns what is wrong with a row, or undefined */
export function faultsOf<Row>(rows: readonly Row[], explain: (row: Row) => string | undefined): Faults {
  const wrong = rows.flatMap((row) => explain(row) ?? []);
  return { count: wrong.length, samples: wrong.slice(0, MAX_SAMPLES) };
}
