// Tests which hours a check shows as the newest.
import { expect, test } from "bun:test";
import { pipelineDatabase } from "../store/pipeline-database.ts";
import { check } from "./checked-database.ts";

test("the newest hours are those that have begun first, whatever the clocks of clients say", async () => {
  await using database = await pipelineDatabase();
  await database.sql`
    insert into hourly_aggregations (aggregation_hour, event_type, total_events, unique_users, total_duration_ms,
      duration_count, unsaved_events, late_events)
    select date_trunc('hour', now(), 'UTC') + make_interval(hours => h), case when h > 0 then 'early' else 'type' end,
      1, 1, 0, 0, 0, 0
    from generate_series(-17, 30) h`;
  const hours = (await check(database)).hours.map(({ event_type }) => event_type);
  // The first two hours of the future fill the list.
  expect(hours).toEqual([...Array<string>(18).fill("type"), "early", "early"]);
});
