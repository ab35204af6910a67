// PostgreSQL crashes, freezes and changes under a running consumer; it waits, says so, and every record counts once.
import { expect } from "bun:test";
import { TestPipeline } from "../support/pipeline.ts";
import { PostgresServer } from "../support/postgres.ts";
import { kafkaTest } from "../support/requirements.ts";

for (const saveRawEvents of [true, false]) {
  const env = { SAVE_RAW_EVENTS: String(saveRawEvents) };
  const how = saveRawEvents ? "with raw events" : "without raw events";

  kafkaTest(
    `PostgreSQL crashes while a worker is busy, and while it is idle, ${how}`,
    async () => {
      await using server = await PostgresServer.start();
      await using pipeline = await TestPipeline.start({ database: await server.database(), env });
      await pipeline.publish(30_000);
      const consumer = pipeline.consumer();
      await pipeline.until("it is busy", async () => (await pipeline.consumed()) > 2000);
      await server.stop("immediate");
      await pipeline.until("it has noticed", async () =>
        /waiting for PostgreSQL|Kafka keeps the records/.test(consumer.program.output),
      );
      await server.start();
      await pipeline.until("the tables answer", async () => (await pipeline.consumed()) >= 0);
      const stored = await pipeline.consumed();
      expect(stored).toBeLessThan(pipeline.published.records);
      await pipeline.drained();

      const resyncs = await consumer.total("resyncs_total");
      expect(resyncs).toBeGreaterThan(0);
      await server.stop("immediate");
      await pipeline.until(
        "it has noticed while idle",
        async () => (await consumer.total("resyncs_total")) > resyncs,
      );
      await server.start();
      await pipeline.publish(2000);
      await pipeline.drained();
      await consumer.drain();
      const { exitCode, violated, accounted } = await pipeline.ledger();
      expect({ exitCode, violated }).toEqual({ exitCode: 0, violated: [] });
      // Without raw rows a repeat is caught in memory only, and a crash empties that.
      if (saveRawEvents) expect(accounted).toEqual(pipeline.published);
      else expect(accounted.records).toBe(pipeline.published.records);
    },
    120_000,
  );
}

kafkaTest(
  "PostgreSQL freezes in the middle of the work and thaws a minute later",
  async () => {
    await using server = await PostgresServer.start();
    await using pipeline = await TestPipeline.start({ database: await server.database() });
    await pipeline.publish(20_000);
    const consumer = pipeline.consumer();
    await pipeline.until("it is busy", async () => (await pipeline.consumed()) > 1000);
    await server.signal("STOP");
    await pipeline.until(
      "the transaction is given up",
      async () => /has not answered within/.test(consumer.program.output),
      60_000,
    );
    await server.signal("CONT");
    await pipeline.drained();
    await consumer.drain();
    expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
  },
  150_000,
);

kafkaTest(
  "a NOT NULL column added by hand pauses the consumer until it is gone, and makes no dead letter",
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
    await pipeline.until("it says that it is paused", async () =>
      /paused: the tables are not as this version expects/.test(consumer.program.output),
    );
    await pipeline.until("it has tried again", async () => (await consumer.total("resyncs_total")) > 2);
    expect(await pipeline.consumed()).toBe(before);
    const [row] = await sql`select count(*)::int as letters from dead_letter_events`;
    expect(row?.["letters"]).toBe(broken);
    const ready = await fetch(`http://127.0.0.1:${await consumer.port()}/readyz`);
    expect(ready.status).toBe(503);
    expect(await ready.text()).toContain("surprise");

    await sql`alter table raw_events drop column surprise`;
    await pipeline.drained();
    await consumer.drain();
    expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
  },
  120_000,
);
