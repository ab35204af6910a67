// Crashes, freezes and changes PostgreSQL under a running consumer, which waits and counts every record once.
import { describe, expect } from "bun:test";
import { CommitGate } from "../support/commit-gate.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { startPostgres } from "../support/postgres.ts";
import { kafkaTest } from "../support/requirements.ts";

describe("PostgreSQL outage", () => {
  for (const saveRawEvents of [true, false]) {
    const env = { SAVE_RAW_EVENTS: String(saveRawEvents) };
    const how = saveRawEvents ? "with raw events" : "without raw events";

    kafkaTest(
      `a crash during a transaction and one while the workers are idle lose nothing, ${how}`,
      async () => {
        await using server = await startPostgres();
        await using pipeline = await TestPipeline.start({ database: await server.database(), env });
        await using gate = await CommitGate.install(pipeline, "last statement");
        await pipeline.publish(3000);
        const consumer = pipeline.consumer();
        await pipeline.drained();
        const atRest = await consumer.total("resyncs_total");
        await gate.close();
        await pipeline.publish(27_000);
        await gate.reached();
        await server.stop("immediate");
        await pipeline.until(
          "the consumer notices the crash",
          async () => (await consumer.total("resyncs_total")) > atRest,
        );
        await server.start();
        await pipeline.drained();

        const resyncs = await consumer.total("resyncs_total");
        await server.stop("immediate");
        await pipeline.until(
          "the idle consumer notices the crash",
          async () => (await consumer.total("resyncs_total")) > resyncs,
        );
        await server.start();
        await pipeline.publish(2000);
        await pipeline.drained();
        await consumer.drain();
        const { exitCode, violated, accounted } = await pipeline.ledger();
        expect({ exitCode, violated }).toEqual({ exitCode: 0, violated: [] });
        // Without raw rows a repeat is caught in memory only, and a crash empties that memory.
        if (saveRawEvents) expect(accounted).toEqual(pipeline.published);
        else expect(accounted.records).toBe(pipeline.published.records);
      },
      150_000,
    );
  }

  kafkaTest(
    "a server that freezes during a transaction is given up, and is used again when it answers",
    async () => {
      await using server = await startPostgres();
      await using pipeline = await TestPipeline.start({ database: await server.database() });
      await using gate = await CommitGate.install(pipeline, "last statement");
      await pipeline.publish(1000);
      const consumer = pipeline.consumer();
      await pipeline.drained();
      await gate.close();
      await pipeline.publish(20_000);
      await gate.reached();
      await server.signal("STOP");
      try {
        // The client's own deadline of a transaction is 30 s.
        await consumer.program.printed(/has not answered within/, 90_000);
      } finally {
        await server.signal("CONT");
      }
      await gate.open();
      await pipeline.drained();
      await consumer.drain();
      expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
    },
    240_000,
  );
});

describe("schema change", () => {
  kafkaTest(
    "a NOT NULL column added by hand pauses the consumer until it is dropped, and makes no dead letter",
    async () => {
      await using pipeline = await TestPipeline.start();
      const { sql } = pipeline.database;
      await pipeline.publish(1000);
      const consumer = pipeline.consumer();
      await pipeline.drained();
      const broken = pipeline.published.broken;
      await sql`alter table raw_events add column surprise text`;
      await sql`update raw_events set surprise = ''`;
      await sql`alter table raw_events alter column surprise set not null`;
      const before = await pipeline.consumed();
      await pipeline.publish(1000);
      await consumer.program.printed(/paused: the tables are not as this version expects/);
      await pipeline.until("it has tried again", async () => (await consumer.total("resyncs_total")) > 2);
      expect(await pipeline.consumed()).toBe(before);
      const [row] = await sql`select count(*)::int as letters from dead_letter_events`;
      expect(row?.["letters"]).toBe(broken);
      await pipeline.until("/readyz names the column", async () => {
        const ready = await fetch(`http://127.0.0.1:${await consumer.port()}/readyz`);
        return ready.status === 503 && (await ready.text()).includes("surprise");
      });

      await sql`alter table raw_events drop column surprise`;
      await pipeline.drained();
      await consumer.drain();
      expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
    },
    150_000,
  );
});
