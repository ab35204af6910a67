// A consumer that is killed while its COMMITs are under way in; counters that never say more than the tables, and
// lag them by the batches in flight alone, out.
import { expect } from "bun:test";
import type { Scrape } from "../support/metrics-text.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { kafkaTest } from "../support/requirements.ts";

const WORKERS = 2;
const BATCH_SIZE = 500;

/** What the scrape says, in the words of the tables. */
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
  "after a SIGKILL the counters lag the tables by no more than the batches in flight, and the tables are exact",
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
    // A COMMIT waits for as long as the test holds this lock, also when its client is gone.
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
      "the counters say what the tables say",
      async () => JSON.stringify(counted(await victim.scrape())) === JSON.stringify(before),
    );

    const held = await sql.reserve();
    await held`select pg_advisory_lock(7)`;
    await pipeline.publish(5000);
    // The other worker's waits for it: they write the same hours.
    await pipeline.until("a COMMIT is under way", async () => (await sessions("commit")) > 0);
    // What is not known to be committed is not counted.
    expect(counted(await victim.scrape())).toEqual(before);
    victim.program.signal("SIGKILL");
    await victim.program.exit();
    await held`select pg_advisory_unlock(7)`;
    held.release();
    await pipeline.until(
      "the COMMIT has happened, and no session is left",
      async () => (await sessions("%")) === 0,
    );

    const after = await stored(pipeline);
    const inFlight = after.consumed - before.consumed;
    // The kill bit: these are stored, and no counter has heard of them.
    expect(inFlight).toBeGreaterThan(0);
    expect(inFlight).toBeLessThanOrEqual(WORKERS * BATCH_SIZE);
    expect(after.consumed).toBe(after.stored + after.duplicates + after.deadLettered);
    expect((await pipeline.ledger()).violated).toEqual([]);

    const next = pipeline.consumer();
    await pipeline.drained();
    const rest = await next.program.metrics(
      await next.port(),
      "the next one has counted the rest, and no more",
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
