// Limits a check to the hours from one on.

/** What a check proves from raw_events and hourly_users. */
export interface CheckScope {
  /** ISO 8601, UTC: the first hour; earlier ones are taken on trust. Undefined: all hours are proved. */
  readonly since: string | undefined;
}

/** A condition on the rows of raw_events. It can be answered from the index on the timestamp. */
export function eventsIn({ since }: CheckScope): string {
  return since === undefined ? "true" : `"timestamp" >= timestamptz '${since}'`;
}

/** A condition on rows with an aggregation_hour. */
export function hoursIn({ since }: CheckScope): string {
  return since === undefined ? "true" : `aggregation_hour >= timestamptz '${since}'`;
}
