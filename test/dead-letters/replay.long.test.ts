// Mends 20,000 of 200,000 records with one replay that is killed twice, while consumers run and checks read.
import { describe, expect } from "bun:test";
import { broken, check } from "../check/checked-database.ts";
import { expectProven } from "../store/pipeline-database.ts";
import { eventually } from "../support/eventually.ts";
import { TestPipeline } from "../support/pipeline.ts";
import type { TestDatabase } from "../support/postgres.ts";
import type { Program } from "../support/process.ts";
import { kafkaTest } from "../support/requirements.ts";
import { replayGate, start, statesOf, temporaryFile } from "./letters.ts";

const RECORDS = 200_000;
const BAD_EVERY = 10;
const BAD = RECORDS / BAD_EVERY;
/** Published while the replay runs. */
const MEANWHILE = 20_000;

function record(index: number) {
  const isBad = index % BAD_EVERY === 0;
  const user = `user_${index % 997}`;
  const value = JSON.stringify({
    event_id: `mended_${index}`,
    [isBad ? "uid" : "user_id"]: user,
    event_type: index % 3 === 0 ? "click" : "page_view",
    timestamp: new Date(Date.UTC(2026, 1, 1, index % 5, 0, 0, index % 1000)).toISOString(),
    event_data: { page_url: `/page/${index % 17}` },
    duration_seconds: (index % 1000) / 8,
  });
  return { key: Buffer.from(user), value: Buffer.from(value) };
}

const MEND = `
  export default ({ uid, ...event }: Record<string, unknown>) => ({ ...event, user_id: uid });
`;

async function replayed({ sql }: TestDatabase): Promise<number> {
  const [row] = await sql`select sum(replayed)::int as n from pipeline_offsets`;
  return Number(row?.["n"]);
}

describe("20,000 bad records among 200,000", () => {
  kafkaTest(
    "are mended by one replay, killed twice on the way, while consumers run and each check is true",
    async () => {
      await using pipeline = await TestPipeline.start({ env: { CONSUMER_BATCH_SIZE: "5000" } });
      const { database } = pipeline;
      await pipeline.migrated();
      await using gate = await replayGate(database);
      await pipeline.send(Array.from({ length: RECORDS }, (_, index) => record(index)));
      const consumer = pipeline.consumer();
      await pipeline.until("all are consumed", async () => (await pipeline.consumed()) === RECORDS, 120_000);
      expect((await statesOf(database)).length).toBe(BAD);

      await using mend = await temporaryFile("mend.ts", MEND);
      const replay = (): Program =>
        start(database, ["replay", "--reason", "missing_field", "--edit", mend.path, "--json"], {
          KAFKA_CONSUMER_GROUP: pipeline.topic,
        });

      const over = new AbortController();
      const violated: string[] = [];
      const checking = (async () => {
        do violated.push(...broken(await check(database)));
        while (!over.signal.aborted);
      })();
      const publishing = pipeline.publish(MEANWHILE);

      for (const least of [2000, 8000]) {
        await using victim = replay();
        await eventually(`${least} are replayed`, async () => (await replayed(database)) >= least);
        await gate.close();
        await gate.reached();
        const before = await replayed(database);
        victim.signal("SIGKILL");
        await victim.exit();
        await gate.open();
        await eventually("its transaction has ended", async () => {
          const rows = await database.sql`
            select from pg_stat_activity where datname = current_database() and xact_start is not null
              and application_name like 'event-pipeline main %' and query not like '%hourly_aggregations%'`;
          return rows.length === 0;
        });
        // The transaction in its hands was rolled back, and there is more to do.
        expect(await replayed(database)).toBe(before);
        expect(before).toBeLessThan(BAD);
      }
      await using last = replay();
      expect(await last.exit()).toBe(0);
      await publishing;
      await pipeline.until(
        "all is consumed",
        async () => (await pipeline.consumed()) === RECORDS + MEANWHILE,
      );
      over.abort();
      await checking;
      expect(violated).toEqual([]);

      await consumer.drain();
      const { published } = pipeline;
      expect(await pipeline.ledger()).toEqual({
        exitCode: 0,
        violated: [],
        accounted: {
          records: RECORDS + MEANWHILE,
          events: RECORDS + published.events,
          repeats: published.repeats,
          broken: published.broken,
        },
      });
      await expectProven(database);
      expect(await replayed(database)).toBe(BAD);
      const [mended] = await database.sql`
        select count(*)::int as n from dead_letter_events d join raw_events e using (event_id)
        where d.state = 'stored' and d.attempts = 1 and e.user_id = convert_from(d.value, 'UTF8')::jsonb ->> 'uid'`;
      expect(mended?.["n"]).toBe(BAD);
    },
    300_000,
  );
});
