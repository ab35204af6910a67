// Signals, and a thread that dies, while records flow or nothing answers: it ends as it should, and every record counts once.
import { expect } from "bun:test";
import { eventually } from "../support/eventually.ts";
import { type TestConsumer, TestPipeline } from "../support/pipeline.ts";
import { PostgresServer } from "../support/postgres.ts";
import { kafkaTest } from "../support/requirements.ts";

/** The figures of a consumer's last line. */
function lastWords({ program }: TestConsumer): { consumed: number; stored: number } {
  const line = program.stdout.split("\n").findLast((text) => text.includes('"msg":"stopped"'));
  if (line === undefined) throw new Error(`it did not say what it did\n${program.output}`);
  return JSON.parse(line) as { consumed: number; stored: number };
}

async function expectLedger(pipeline: TestPipeline): Promise<void> {
  expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
}

/** Waits until no backend of a consumer is left, and with them no transaction. */
async function untilQuiet(pipeline: TestPipeline): Promise<void> {
  await pipeline.until("no session of a consumer is left", async () => {
    const [row] = await pipeline.database.sql`
      select count(*)::int as sessions from pg_stat_activity
      where datname = current_database() and application_name like 'event-pipeline %'`;
    return row?.["sessions"] === 0;
  });
}

/** Makes every transaction take a little, so that there is always one in flight. */
async function slowDown({ database: { sql } }: TestPipeline): Promise<void> {
  await sql`create function slow() returns trigger language plpgsql as 'begin perform pg_sleep(0.05); return null; end'`;
  await sql`create trigger slow after update on pipeline_offsets for each statement execute function slow()`;
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  kafkaTest(
    `the first ${signal} drains while records flow: exit code 0, and nothing is read twice`,
    async () => {
      await using pipeline = await TestPipeline.start();
      await pipeline.migrated();
      await slowDown(pipeline);
      const first = pipeline.consumer();
      await pipeline.settled();
      const stop = new AbortController();
      const publishing = (async () => {
        while (!stop.signal.aborted) await pipeline.publish(500);
      })();
      await pipeline.until("it has more in its hands than it has stored", async () => {
        const found = await first.scrape();
        const consumed = found.value("events_consumed_total") ?? 0;
        return consumed > 2000 && found.value("records_fetched_total")! > consumed;
      });
      first.program.signal(signal);
      expect(await first.program.exit()).toBe(0);
      stop.abort();
      await publishing;
      expect(first.program.stdout).toContain(`"signal":"${signal}"`);
      expect(first.program.stderr).toBe("");
      const { consumed } = lastWords(first);
      // What it says it did is what is stored: there is no transaction of which it does not know.
      expect(await pipeline.consumed()).toBe(consumed);
      expect(consumed).toBeLessThan(pipeline.published.records);

      await pipeline.database.sql`drop trigger slow on pipeline_offsets`;
      const second = pipeline.consumer({ CONSUMER_WORKERS: "1" });
      await pipeline.drained();
      const rest = pipeline.published.records - consumed;
      const all = await second.program.metrics(
        await second.port(),
        "the second has the rest",
        (found) => found.value("events_consumed_total") === rest,
      );
      expect(all.value("records_fetched_total")).toBe(rest);
      await second.drain();
      const [row] = await pipeline.database.sql`select sum(skipped)::int as skipped from pipeline_offsets`;
      expect(row).toEqual({ skipped: 0 });
      await expectLedger(pipeline);
    },
    90_000,
  );
}

kafkaTest(
  "the second signal ends a drain that gets nowhere, at once",
  async () => {
    await using pipeline = await TestPipeline.start({
      // A member that was forced leaves no group: it is missed when its session is over.
      env: { KAFKA_CONFIG_SESSION_TIMEOUT_MS: "2000", KAFKA_CONFIG_HEARTBEAT_INTERVAL_MS: "500" },
    });
    await pipeline.migrated();
    const { sql } = pipeline.database;
    const consumer = pipeline.consumer();
    await pipeline.settled();
    const held = Promise.withResolvers<void>();
    const locked = Promise.withResolvers<void>();
    const lock = sql.begin(async (tx) => {
      await tx`lock table raw_events in access exclusive mode`;
      locked.resolve();
      await held.promise;
    });
    try {
      await locked.promise;
      await pipeline.publish(2000);
      await pipeline.until("its transactions wait", async () => {
        const [row] = await sql`
          select count(*)::int as waiting from pg_stat_activity
          where datname = current_database() and application_name like 'event-pipeline worker %' and wait_event_type = 'Lock'`;
        return Number(row?.["waiting"]) > 0;
      });
      consumer.program.signal("SIGTERM");
      await consumer.program.printed(/draining/);
      // A signal that follows at once is the same Ctrl-C; one of these is not.
      await eventually("the next signal has ended it", () => {
        consumer.program.signal("SIGTERM");
        return !consumer.program.running;
      });
      expect(await consumer.program.exit()).toBe(1);
      expect(consumer.program.stderr).toBe("SIGTERM again: stopping at once, without a drain\n");
      expect(await pipeline.consumed()).toBe(0);
    } finally {
      held.resolve();
      await lock;
    }
    await untilQuiet(pipeline);
    const next = pipeline.consumer();
    await pipeline.drained();
    await next.drain();
    await expectLedger(pipeline);
  },
  60_000,
);

kafkaTest(
  "a signal while it waits: for PostgreSQL that is away, for PostgreSQL that is frozen, for Kafka that is away",
  async () => {
    await using server = await PostgresServer.start();
    await using pipeline = await TestPipeline.start({ database: await server.database() });
    const nowhere = { KAFKA_BOOTSTRAP_SERVERS: "127.0.0.1:1" };
    const withoutKafka = pipeline.consumer(nowhere);
    await withoutKafka.program.printed(/brought the tables up to date/);
    withoutKafka.program.signal("SIGTERM");
    expect(await withoutKafka.program.exit(10_000)).toBe(0);
    expect(withoutKafka.program.stderr).toBe("");

    const away = pipeline.consumer({ DB_PORT: "1" });
    await away.program.printed(/waiting for PostgreSQL/);
    away.program.signal("SIGTERM");
    expect(await away.program.exit(10_000)).toBe(0);

    await server.signal("STOP");
    const frozen = pipeline.consumer();
    await frozen.port();
    frozen.program.signal("SIGTERM");
    expect(await frozen.program.exit(10_000)).toBe(0);
    await server.signal("CONT");
  },
  90_000,
);

kafkaTest(
  "a signal while PostgreSQL is frozen in the middle of a transaction: it gives up in time",
  async () => {
    await using server = await PostgresServer.start();
    await using pipeline = await TestPipeline.start({ database: await server.database() });
    await pipeline.migrated();
    await slowDown(pipeline);
    await pipeline.publish(20_000);
    const consumer = pipeline.consumer();
    await pipeline.until("it is busy", async () => (await pipeline.consumed()) > 1000);
    await server.signal("STOP");
    consumer.program.signal("SIGTERM");
    // The longest transaction is given up after 30 s.
    const code = await consumer.program.exit(60_000);
    await server.signal("CONT");
    expect(code).toBe(1);
    expect(consumer.program.stderr).toMatch(
      /^worker \d did not drain: what was read could not be committed, and is read again: [^\n]+\n$/,
    );
    await untilQuiet(pipeline);
    expect(await pipeline.consumed()).toBeLessThan(pipeline.published.records);
    await pipeline.database.sql`drop trigger slow on pipeline_offsets`;
    const next = pipeline.consumer();
    await pipeline.drained();
    await next.drain();
    await expectLedger(pipeline);
  },
  150_000,
);

kafkaTest(
  "a thread that dies ends the process: the other drains, exit code 1, and the reason",
  async () => {
    await using pipeline = await TestPipeline.start();
    const { sql } = pipeline.database;
    await pipeline.migrated();
    await slowDown(pipeline);
    await pipeline.publish(20_000);
    const consumer = pipeline.consumer();
    await pipeline.until("both threads work", async () => {
      const [row] = await sql`
        select count(*)::int as workers from pg_stat_activity
        where datname = current_database() and application_name like 'event-pipeline worker %'`;
      return row?.["workers"] === 2 && (await pipeline.consumed()) > 1000;
    });
    // No retry mends this: the thread that loses its connection finds that another group has taken the database over.
    await sql`update pipeline_state set consumer_group = 'thief'`;
    await sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name like 'event-pipeline worker %'
      order by backend_start limit 1`;
    expect(await consumer.program.exit(60_000)).toBe(1);
    expect(consumer.program.stderr).toMatch(
      /^worker \d has ended: the consumer group "thief" has taken over this database from "[^"]+"\n$/,
    );
    expect(consumer.program.stdout).not.toContain("did not drain in time");
    expect(lastWords(consumer).consumed).toBe(await pipeline.consumed());

    await sql`drop trigger slow on pipeline_offsets`;
    const next = pipeline.consumer();
    await next.program.printed(/took the database over from another consumer group/);
    await pipeline.drained();
    await next.drain();
    await expectLedger(pipeline);
  },
  120_000,
);

kafkaTest(
  "a thread without partitions leaves the group: the next consumer need not wait for its session",
  async () => {
    // The group would wait for a ghost until its session is over: longer than this test.
    await using pipeline = await TestPipeline.start({
      partitions: 1,
      env: { KAFKA_CONFIG_SESSION_TIMEOUT_MS: "60000" },
    });
    for (let life = 1; life <= 3; life++) {
      const consumer = pipeline.consumer();
      await pipeline.publish(100);
      await pipeline.drained(30_000);
      // One of the two has the only partition; the other joined after it, and the rebalance is hardly over.
      await consumer.program.printed(/"owned":0/);
      await consumer.drain();
    }
    await expectLedger(pipeline);
  },
  90_000,
);

kafkaTest(
  "a signal in the middle of a rebalance: both threads leave the group",
  async () => {
    await using pipeline = await TestPipeline.start({ env: { KAFKA_CONFIG_SESSION_TIMEOUT_MS: "60000" } });
    for (let life = 1; life <= 3; life++) {
      const consumer = pipeline.consumer();
      await pipeline.publish(100);
      // The first thread mostly has all partitions when the second comes and gets its share; or they come together.
      await consumer.program.printed(/"owned":[03]/);
      await consumer.drain();
    }
    const last = pipeline.consumer();
    await pipeline.settled();
    await pipeline.drained();
    await last.drain();
    await expectLedger(pipeline);
  },
  90_000,
);
