// Kills a consumer while its COMMITs are under way and compares its counters with the tables.
import { describe, expect } from "bun:test";
import { CommitGate } from "../support/commit-gate.ts";
import type { Scrape } from "../support/metrics-text.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { kafkaTest } from "../support/requirements.ts";

const WORKERS = 2;
const BATCH_SIZE = 500;

/** The counters of a scrape, under the names of the columns of the tables. */
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

describe("counters", () => {
  kafkaTest(
    "lag the tables by no more than the batches in flight after a SIGKILL, and the tables are exact",
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
      await using gate = await CommitGate.install(pipeline, "commit");
      const victim = pipeline.consumer();
      await pipeline.settled(2);
      await pipeline.until("each worker has one partition", async () => {
        return [...victim.ownedByWorker.values()].join() === "1,1";
      });
      await pipeline.publish(10_000);
      await pipeline.drained();
      const before = await stored(pipeline);
      await pipeline.until(
        "the counters equal the tables",
        async () => JSON.stringify(counted(await victim.scrape())) === JSON.stringify(before),
      );

      await gate.close();
      await pipeline.publish(5000);
      // The other worker waits for this COMMIT: they write the same hours.
      await gate.reached();
      // What is not known to be committed is not counted.
      expect(counted(await victim.scrape())).toEqual(before);
      victim.program.signal("SIGKILL");
      await victim.program.exit();
      await gate.open();
      await pipeline.until("the COMMIT has happened, and no session is left", async () => {
        const [row] = await pipeline.database.sql`
        select count(*)::int as n from pg_stat_activity
        where datname = current_database() and application_name like 'event-pipeline worker %'`;
        return row?.["n"] === 0;
      });

      const after = await stored(pipeline);
      const inFlight = after.consumed - before.consumed;
      // The fault happened: these are stored, and no counter includes them.
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
    180_000,
  );
});
