// A consumer is killed in the middle of its work, again and again; every record counts once.
import { expect } from "bun:test";
import { TestPipeline } from "../support/pipeline.ts";
import { kafkaTest } from "../support/requirements.ts";
import { withoutFence } from "../support/unfenced.ts";

const KILLS = 10;

kafkaTest(
  "SIGKILL in the middle of a drain, ten times",
  async () => {
    await using pipeline = await TestPipeline.start({
      // The group waits for a killed member until its session is over.
      env: {
        KAFKA_CONFIG_SESSION_TIMEOUT_MS: "2000",
        KAFKA_CONFIG_HEARTBEAT_INTERVAL_MS: "500",
        CONSUMER_BATCH_SIZE: "200",
      },
    });
    // Small transactions that take their time, so that the topic outlasts ten lives.
    await pipeline.publish(40_000);
    await using slow = await slowDown(pipeline);
    for (let kill = 1; kill <= KILLS; kill++) {
      const before = await pipeline.consumed();
      let fetched = 0;
      const consumer = pipeline.consumer();
      await pipeline.until(
        `life ${kill}: more is fetched than stored`,
        async () => {
          const found = await consumer.scrape();
          fetched = found.value("records_fetched_total") ?? 0;
          const consumed = found.value("events_consumed_total") ?? 0;
          return consumed > 0 && fetched > consumed;
        },
        60_000,
      );
      consumer.program.signal("SIGKILL");
      await consumer.program.exit();
      await slow.untilQuiet();
      const after = await pipeline.consumed();
      // The kill bit: records were in its hands, and not in the tables.
      expect(before + fetched).toBeGreaterThan(after);
      expect(after).toBeGreaterThan(before);
    }
    await slow[Symbol.asyncDispose]();
    expect(await pipeline.consumed()).toBeLessThan(pipeline.published.records);
    const last = pipeline.consumer({ CONSUMER_BATCH_SIZE: "5000" });
    await pipeline.drained(90_000);
    await last.drain();
    expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
  },
  300_000,
);

/**
 * Kills a consumer while its COMMIT is under way, and starts the next one before that COMMIT has happened.
 * @returns the invariants that do not hold afterwards
 */
async function killDuringCommit(root?: string): Promise<readonly string[]> {
  await using pipeline = await TestPipeline.start({
    env: {
      KAFKA_CONFIG_SESSION_TIMEOUT_MS: "1500",
      KAFKA_CONFIG_HEARTBEAT_INTERVAL_MS: "500",
      CONSUMER_WORKERS: "1",
    },
    partitions: 1,
    ...(root === undefined ? {} : { root }),
  });
  const { sql } = pipeline.database;
  await pipeline.migrated();
  await sql`create table slow_commits (seconds int)`;
  await sql`insert into slow_commits values (8)`;
  await sql`create function slow() returns trigger language plpgsql
    as 'begin perform pg_sleep(seconds) from slow_commits; return null; end'`;
  await sql`create constraint trigger slow after update on pipeline_offsets
    deferrable initially deferred for each row execute function slow()`;
  // No broken record among them: the key of the dead letters would refuse a second time.
  await pipeline.publish(90);
  await using victim = pipeline.consumer();
  await pipeline.until("a COMMIT is under way", async () => {
    const [row] = await sql`
      select count(*)::int as n from pg_stat_activity
      where datname = current_database() and state = 'active' and query = 'commit'`;
    return row?.["n"] === 1;
  });
  victim.program.signal("SIGKILL");
  await victim.program.exit();
  await sql`delete from slow_commits`;
  expect(await pipeline.consumed()).toBe(0);
  await using next = pipeline.consumer();
  await pipeline.drained();
  await pipeline.publish(300);
  await pipeline.drained();
  await next.drain();
  const { violated, accounted } = await pipeline.ledger();
  if (violated.length === 0) expect(accounted).toEqual(pipeline.published);
  return violated;
}

kafkaTest(
  "SIGKILL during the COMMIT, which happens when the next consumer is already there",
  async () => {
    expect(await killDuringCommit()).toEqual([]);
  },
  120_000,
);

kafkaTest(
  "the same without the fence: the check finds the damage",
  async () => {
    await using unfenced = await withoutFence();
    expect(await killDuringCommit(unfenced.root)).not.toEqual([]);
  },
  120_000,
);

/** Makes every transaction take 100 ms longer, for as long as it is held. */
async function slowDown(pipeline: TestPipeline) {
  const { sql } = pipeline.database;
  await pipeline.migrated();
  await sql`create function slow() returns trigger language plpgsql as 'begin perform pg_sleep(0.1); return null; end'`;
  await sql`create trigger slow after update on pipeline_offsets for each statement execute function slow()`;
  return {
    /** Waits until the backends of the killed process are gone, and with them their transactions. */
    async untilQuiet() {
      await pipeline.until("no transaction is left", async () => {
        const [row] = await sql`
          select count(*)::int as n from pg_stat_activity
          where datname = current_database() and application_name like 'event-pipeline %'`;
        return row?.["n"] === 0;
      });
    },
    async [Symbol.asyncDispose]() {
      await sql`drop trigger if exists slow on pipeline_offsets`;
    },
  };
}
