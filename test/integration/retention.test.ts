// Tests that consumers delete old rows while events flow, and that nothing is lost when they are killed in the middle of it.
import { describe, expect } from "bun:test";
import type { RawRecord } from "../support/raw-producer.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { kafkaTest } from "../support/requirements.ts";

const TIMEOUT_MS = 4 * 60_000;
const HOUR_MS = 3_600_000;
const HOURS = 30;
const EVENTS_AN_HOUR = 1000;

/** Events of the last hours, the oldest first. @param run makes their ids unique */
function eventsOfHours(hours: number, run: string): RawRecord[] {
  const begin = Math.floor(Date.now() / HOUR_MS) * HOUR_MS - hours * HOUR_MS;
  return Array.from({ length: hours * EVENTS_AN_HOUR }, (_, index) => ({
    key: Buffer.from(`user_${index % 40}`),
    value: Buffer.from(
      JSON.stringify({
        event_id: `${run}_${index}`,
        user_id: `user_${index % 40}`,
        event_type: index % 2 === 0 ? "click" : "search",
        timestamp: new Date(begin + Math.floor(index / EVENTS_AN_HOUR) * HOUR_MS + 1000).toISOString(),
        event_data: { page: "x".repeat(400) },
      }),
    ),
  }));
}

interface State {
  readonly stored: number;
  readonly rows: number;
  readonly pruned: number;
  readonly users: number;
  readonly expired: number;
}

async function stateOf({ database: { sql } }: TestPipeline): Promise<State> {
  const [state] = await sql<[State]>`
    select (select sum(stored)::int from pipeline_offsets) as stored, (select count(*)::int from raw_events) as rows,
      (select coalesce(sum(pruned_events), 0)::int from sealed_hours) as pruned,
      (select count(*)::int from hourly_users) as users,
      (select count(*)::int from dead_letter_events where reason = 'expired') as expired`;
  return { ...state };
}

async function expectProven(pipeline: TestPipeline): Promise<void> {
  expect(await pipeline.ledger()).toMatchObject({ exitCode: 0, violated: [] });
}

describe("the retention", () => {
  kafkaTest(
    "deletes old rows under two consumers that are killed in the middle of it, while events flow",
    async () => {
      await using pipeline = await TestPipeline.start({
        env: {
          FLUSH_INTERVAL_SECONDS: "0.2",
          CONSUMER_WORKERS: "1",
          KAFKA_CONFIG_SESSION_TIMEOUT_MS: "6000",
        },
      });
      const records = eventsOfHours(HOURS, "first");
      await pipeline.send(records);
      const first = pipeline.consumer();
      const all = async (count: number) =>
        await pipeline.until("all is stored", async () => (await pipeline.consumed()) >= count);
      await all(records.length);
      await first.drain();
      await expectProven(pipeline);

      // Half a day: about 18 of the hours lose their events, and fewer their users.
      const retention = { RETENTION_DAYS: "0.5", HOURLY_USERS_RETENTION_DAYS: "0.9" };
      // Each step takes a moment, so that all kills are in the middle.
      const { sql } = pipeline.database;
      await sql`create function wait() returns trigger language plpgsql as 'begin perform pg_sleep(0.05); return null; end'`;
      await sql`create trigger wait after update on sealed_hours for each statement execute function wait()`;
      let pruned = 0;
      for (let kills = 0; kills < 3; kills++) {
        const consumers = [pipeline.consumer(retention), pipeline.consumer(retention)];
        await pipeline.until(
          "more events are deleted",
          async () => (await stateOf(pipeline)).pruned > pruned,
        );
        for (const { program } of consumers) program.signal("SIGKILL");
        await Promise.all(consumers.map(({ program }) => program.exit()));
        const state = await stateOf(pipeline);
        expect(state.rows + state.pruned).toBe(state.stored);
        pruned = state.pruned;
        await expectProven(pipeline);
      }
      expect(pruned).toBeLessThan(17 * EVENTS_AN_HOUR);
      await sql`drop trigger wait on sealed_hours`;

      const consumers = [pipeline.consumer(retention), pipeline.consumer(retention)];
      const more = eventsOfHours(HOURS, "second");
      await pipeline.send(more);
      await all(records.length + more.length);
      await pipeline.until("no sealed hour has events or users of its retention left", async () => {
        const [row] = await pipeline.database.sql<[{ left: number }]>`
          select count(*)::int as left from sealed_hours, pipeline_state
          where (events_pruned_at is null and aggregation_hour < raw_events_cutoff)
            or (users_pruned_at is null and aggregation_hour < hourly_users_cutoff)`;
        return row.left === 0;
      });
      await expectProven(pipeline);
      const state = await stateOf(pipeline);
      // The hour may have changed meanwhile, and taken one more hour with it.
      expect([17, 18, 19]).toContain(state.expired / EVENTS_AN_HOUR);
      expect(state.rows + state.pruned).toBe(state.stored);
      expect(await consumers[0]!.total("retention_behind_seconds")).toBeLessThan(2 * 3600);
      const deleted = await Promise.all(
        consumers.map(async (consumer) => await consumer.total("retention_step_duration_seconds_count")),
      );
      expect(Math.max(...deleted)).toBeGreaterThan(0);
      for (const consumer of consumers) await consumer.drain();
      await expectProven(pipeline);
    },
    TIMEOUT_MS,
  );
});
