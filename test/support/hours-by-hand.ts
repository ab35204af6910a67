// Changes rows of the hours by hand.
import type postgres from "postgres";

/** The rows of hourly_aggregations, by hour and event type as a rebuild names them, the oldest first. */
export async function hourNames(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql<{ name: string }[]>`
    select to_char(aggregation_hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z "') || event_type as name
    from hourly_aggregations order by aggregation_hour, event_type`;
  return rows.map(({ name }) => name);
}

/** Changes each of the rows, in one of several ways in turn. */
export async function changeHours(sql: postgres.Sql, names: readonly string[]): Promise<void> {
  for (const [index, name] of names.entries()) {
    const [hour = "", type = ""] = name.split(" ");
    const key = sql`aggregation_hour = ${hour}::text::timestamptz and event_type = ${type}`;
    const ways = [
      () => sql`update hourly_aggregations set total_events = total_events + 3 where ${key}`,
      () =>
        sql`update hourly_aggregations set total_duration_ms = total_duration_ms + 1, unique_users = 0 where ${key}`,
      () =>
        sql`delete from hourly_users where ${key} and user_id in (select user_id from hourly_users where ${key} limit 7)`,
      () => sql`insert into hourly_users values (${hour}::text::timestamptz, ${type}, 'somebody')`,
      () => sql`update hourly_aggregations set duration_count = duration_count + 1 where ${key}`,
    ];
    await ways[index % ways.length]!();
  }
}
