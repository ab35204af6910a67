// Sends signals to consumers, or ends a thread, while records flow or a peer is silent; every record counts once.
import { describe, expect } from "bun:test";
import { CommitGate } from "../support/commit-gate.ts";
import { eventually } from "../support/eventually.ts";
import { TestPipeline } from "../support/pipeline.ts";
import type { TestConsumer } from "../support/test-consumer.ts";
import { startPostgres } from "../support/postgres.ts";
import { kafkaTest } from "../support/requirements.ts";

/** A drain may take 40 s before the consumer gives it up. */
const DRAIN_DEADLINE_MS = 60_000;
/** A consumer that waits for a peer has nothing to drain: it ends at once. */
const AT_ONCE_MS = 10_000;
/** The group would wait this long for a member that did not leave: longer than the test waits for anything. */
const LONG_SESSION = { KAFKA_CONFIG_SESSION_TIMEOUT_MS: "180000" };

/** The figures of a consumer's last line. */
function lastFigures({ program }: TestConsumer): { consumed: number; stored: number } {
  const line = program.stdout.split("\n").findLast((text) => text.includes('"msg":"stopped"'));
  if (line === undefined) throw new Error(`the consumer did not log its last figures\n${program.output}`);
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

describe("signal", () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    kafkaTest(
      `the first ${signal} drains while records flow: exit code 0, and nothing is read twice`,
      async () => {
        await using pipeline = await TestPipeline.start();
        await using gate = await CommitGate.install(pipeline, "last statement");
        const first = pipeline.consumer();
        await pipeline.settled();
        await pipeline.publish(2000);
        await pipeline.drained();
        await gate.close();
        await pipeline.publish(5000);
        await gate.reached();
        first.program.signal(signal);
        await first.program.printed(/draining/);
        await pipeline.publish(1000);
        await gate.open();
        expect(await first.program.exit(DRAIN_DEADLINE_MS)).toBe(0);
        await pipeline.publish(1000);
        expect(first.program.stdout).toContain(`"signal":"${signal}"`);
        expect(first.program.stderr).toBe("");
        const { consumed } = lastFigures(first);
        // The consumer knows of every transaction that was committed, the last ones included.
        expect(await pipeline.consumed()).toBe(consumed);
        expect(consumed).toBeGreaterThan(2000);

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
        const [row] = await pipeline.database
          .sql`select sum(deleted + gaps)::int as lost from pipeline_offsets`;
        expect(row).toEqual({ lost: 0 });
        await expectLedger(pipeline);
      },
      150_000,
    );
  }

  kafkaTest(
    "the second signal ends at once a drain that cannot finish",
    async () => {
      await using pipeline = await TestPipeline.start({
        // A member that was forced to end leaves no group: it is missed when its session is over.
        env: { KAFKA_CONFIG_SESSION_TIMEOUT_MS: "2000", KAFKA_CONFIG_HEARTBEAT_INTERVAL_MS: "500" },
      });
      await using gate = await CommitGate.install(pipeline, "last statement");
      const consumer = pipeline.consumer();
      await pipeline.settled();
      await gate.close();
      await pipeline.publish(2000);
      await gate.reached();
      consumer.program.signal("SIGTERM");
      await consumer.program.printed(/draining/);
      // A signal that follows at once is the same Ctrl-C; one of these is not.
      await eventually(
        "the next signal ends the consumer",
        () => {
          consumer.program.signal("SIGTERM");
          return !consumer.program.running;
        },
        { timeoutMs: AT_ONCE_MS },
      );
      expect(await consumer.program.exit()).toBe(1);
      expect(consumer.program.stderr).toBe("SIGTERM again: stopping at once, without a drain\n");
      expect(await pipeline.consumed()).toBe(0);
      await gate.open();
      await untilQuiet(pipeline);
      const next = pipeline.consumer();
      await pipeline.drained();
      await next.drain();
      await expectLedger(pipeline);
    },
    150_000,
  );

  kafkaTest(
    "a consumer that waits for PostgreSQL that is away or frozen, or for Kafka that is away, ends at once",
    async () => {
      await using server = await startPostgres();
      await using pipeline = await TestPipeline.start({ database: await server.database() });
      const withoutKafka = pipeline.consumer({ KAFKA_BOOTSTRAP_SERVERS: "127.0.0.1:1" });
      await withoutKafka.program.printed(/brought the tables up to date/);
      withoutKafka.program.signal("SIGTERM");
      expect(await withoutKafka.program.exit(AT_ONCE_MS)).toBe(0);
      expect(withoutKafka.program.stderr).toBe("");

      const away = pipeline.consumer({ DB_PORT: "1" });
      await away.program.printed(/waiting for PostgreSQL/);
      away.program.signal("SIGTERM");
      expect(await away.program.exit(AT_ONCE_MS)).toBe(0);

      await server.signal("STOP");
      try {
        const frozen = pipeline.consumer();
        await frozen.port();
        frozen.program.signal("SIGTERM");
        expect(await frozen.program.exit(AT_ONCE_MS)).toBe(0);
      } finally {
        await server.signal("CONT");
      }
    },
    150_000,
  );

  kafkaTest(
    "a consumer whose PostgreSQL is frozen during a transaction gives up in time, with exit code 1",
    async () => {
      await using server = await startPostgres();
      await using pipeline = await TestPipeline.start({ database: await server.database() });
      await using gate = await CommitGate.install(pipeline, "last statement");
      await pipeline.publish(1000);
      const consumer = pipeline.consumer();
      await pipeline.drained();
      await gate.close();
      await pipeline.publish(5000);
      await gate.reached();
      await server.signal("STOP");
      let code: number;
      try {
        consumer.program.signal("SIGTERM");
        code = await consumer.program.exit(DRAIN_DEADLINE_MS);
      } finally {
        await server.signal("CONT");
      }
      expect(code).toBe(1);
      expect(consumer.program.stderr).toMatch(
        /^worker \d did not drain: what was read could not be committed, and is read again: [^\n]+\n$/,
      );
      await gate.open();
      await untilQuiet(pipeline);
      expect(await pipeline.consumed()).toBe(1000);
      const next = pipeline.consumer();
      await pipeline.drained();
      await next.drain();
      await expectLedger(pipeline);
    },
    240_000,
  );

  kafkaTest(
    "both threads leave the group when the signal comes in the middle of a rebalance",
    async () => {
      await using pipeline = await TestPipeline.start({ env: LONG_SESSION });
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
    240_000,
  );
});

describe("worker thread", () => {
  kafkaTest(
    "a thread that dies ends the process: the other drains, and the exit code is 1 with the reason",
    async () => {
      await using pipeline = await TestPipeline.start();
      const { sql } = pipeline.database;
      await using gate = await CommitGate.install(pipeline, "last statement");
      const consumer = pipeline.consumer();
      await pipeline.settled();
      await pipeline.until("each thread owns partitions", async () => {
        const owned = [...consumer.ownedByWorker.values()];
        return owned.length === 2 && owned.every((count) => count > 0);
      });
      await pipeline.publish(1000);
      await pipeline.drained();
      // No retry fixes this: the thread that loses its connection finds that another group has taken the database over.
      await sql`update pipeline_state set consumer_group = 'thief'`;
      await gate.close();
      await pipeline.publish(5000);
      const backend = await gate.reached();
      await sql`select pg_terminate_backend(${backend})`;
      await gate.open();
      expect(await consumer.program.exit(DRAIN_DEADLINE_MS)).toBe(1);
      expect(consumer.program.stderr).toMatch(
        /^worker \d has ended: the consumer group "thief" has taken over this database from "[^"]+"\n$/,
      );
      expect(consumer.program.stdout).not.toContain("did not drain in time");
      const consumed = await pipeline.consumed();
      expect(lastFigures(consumer).consumed).toBe(consumed);

      const next = pipeline.consumer();
      await next.program.printed(/took the database over from another consumer group/);
      await pipeline.drained();
      await next.drain();
      await expectLedger(pipeline);
    },
    180_000,
  );

  kafkaTest(
    "a thread without partitions leaves the group: the next consumer need not wait for its session",
    async () => {
      await using pipeline = await TestPipeline.start({ partitions: 1, env: LONG_SESSION });
      for (let life = 1; life <= 3; life++) {
        const consumer = pipeline.consumer();
        await pipeline.publish(100);
        await pipeline.drained();
        // One of the two has the only partition; the other joined after it, and the rebalance is hardly over.
        await consumer.program.printed(/"owned":0/);
        await consumer.drain();
      }
      await expectLedger(pipeline);
    },
    240_000,
  );
});
