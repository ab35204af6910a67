// Runs the real programs on a real broker and a real database; every record comes out once.
import { describe, expect } from "bun:test";
import { kafkaTest } from "../support/requirements.ts";
import { TestPipeline } from "../support/pipeline.ts";

describe("flow", () => {
  kafkaTest(
    "every record is stored once, and the consumer drains at the first signal",
    async () => {
      await using pipeline = await TestPipeline.start();
      await pipeline.publish(5000);
      const consumer = pipeline.consumer();
      await pipeline.drained();
      const { sql } = pipeline.database;
      const [row] = await sql`
        select (select count(*)::int from raw_events) as events,
          (select sum(duplicates)::int from pipeline_offsets) as repeats,
          (select count(*)::int from dead_letter_events) as broken,
          (select sum(total_events)::int from hourly_aggregations) as counted`;
      const { events, repeats, broken } = pipeline.published;
      expect(row).toEqual({ events, repeats, broken, counted: events });
      await consumer.drain();
      expect(consumer.program.output).toContain('"msg":"stopped"');
    },
    120_000,
  );
});
