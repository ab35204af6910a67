// Kills a consumer while its COMMITs are in flight, and compares its counters with the tables.
import { expect } from "bun:test";
import type { Scrape } from "../support/metrics-text.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { kafkaTest } from "../support/requirements.ts";

const WORKERS = 2;
const BATCH_SIZE = 500;

/** The figures of a scrape by the column names of the tables. */
function counted(scrape: Scrape) {
  return {
    consumed: scrape.value("events_consumed_total") ?? 0,
    stored: scrape.value("events_processed_total") ?? 0,
    duplicates: scrape.value("duplicate_events_total") ?? 0,
    deadLettered: scrape.value("dead_letter_events_total") ?? 0,
  };
}

async function stored({ database: { sql } }: TestPipeline): Promise<ReturnType<typeof counted>> {
  const [row] = await sql`
    select (select sum(consumed)::int from pipeline_offsets) as consumed,
      (select count(*)::int from raw_events) as stored,
      (select sum(duplicates)::int from pipeline_offsets) as duplicates,
      (select count(*)::int from dead_letter_events) as "deadLettered"`;
  return { ...row } as ReturnType<typeof counted>;
}

kafkaTest(
  "the counters of a killed consumer lag the tables by no more than the batches in flight",
  async () => {
    await using pipeline = await TestPipeline.start({
      partitions: 2,
      env: {
        KAFKA_CONFIG_SESSION_TIMEOUT_MS: "2000",
        KAFKA_CONFIG_HEARTBEAT_INTERVAL_MS: "500",
        CONSUMER_WORKERS: String(WORKERS),
        CONSUMER_BATCH_SIZE: String(BATCH_SIZE),
      },
    });
    const { sql } = pipeline.database;
    await pipeline.migrated();
    // A COMMIT waits while the test holds this lock, even after its client has ended.
    await sql`create function wait_for_test() returns trigger language plpgsql set lock_timeout = 0
      as 'begin perform pg_advisory_xact_lock_shared(7); return null; end'`;
    await sql`create constraint trigger wait_for_test after update on pipeline_offsets
      deferrable initially deferred for each row execute function wait_for_test()`;
    const sessions = async (query: string): Promise<number> => {
      const [row] = await sql`
        select count(*)::int as n from pg_stat_activity where datname = current_database()
          and application_name like 'event-pipeline worker %' and query ilike ${query}`;
      return Number(row?.["n"]);
    };
    const victim = pipeline.consumer();
    await pipeline.settled(2);
    await pipeline.until("each worker has one partition", async () => {
      const owned = new Map<string, string>();
      for (const [, worker, count] of victim.program.stdout.matchAll(/"worker":(\d).*"owned":(\d)/g)) {
        owned.set(worker!, count!);
      }
      return owned.size === WORKERS && [...owned.values()].every((count) => count === "1");
    });
    await pipeline.publish(10_000);
    await pipeline.drained();
    const before = await stored(pipeline);
    await pipeline.until(
      "the counters equal the tables",
      async () => JSON.stringify(counted(await victim.scrape())) === JSON.stringify(before),
    );

    const held = await sql.reserve();
    await held`select pg_advisory_lock(7)`;
    await pipeline.publish(5000);
    // The other worker's COMMIT waits for the first one: both write the same hours.
    await pipeline.until("a COMMIT is in flight", async () => (await sessions("commit")) > 0);
    // Records without a confirmed COMMIT are not counted.
    expect(counted(await victim.scrape())).toEqual(before);
    victim.program.signal("SIGKILL");
    await victim.program.exit();
    await held`select pg_advisory_unlock(7)`;
    held.release();
    await pipeline.until(
      "the COMMIT is done, and no session is left",
      async () => (await sessions("%")) === 0,
    );

    const after = await stored(pipeline);
    const inFlight = after.consumed - before.consumed;
    // The kill had an effect: these records are stored and not counted.
    expect(inFlight).toBeGreaterThan(0);
    expect(inFlight).toBeLessThanOrEqual(WORKERS * BATCH_SIZE);
    expect(after.consumed).toBe(after.stored + after.duplicates + after.deadLettered);
    expect((await pipeline.ledger()).violated).toEqual([]);

    const next = pipeline.consumer();
    await pipeline.drained();
    const rest = await next.program.metrics(
      await next.port(),
      "the next consumer has counted the rest, and no more",
      (found) => found.value("events_consumed_total") === pipeline.published.records - after.consumed,
    );
    const final = await stored(pipeline);
    expect(counted(rest)).toEqual({
      consumed: final.consumed - after.consumed,
      stored: final.stored - after.stored,
      duplicates: final.duplicates - after.duplicates,
      deadLettered: final.deadLettered - after.deadLettered,
    });
    await next.drain();
    expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
  },
  120_000,
);
