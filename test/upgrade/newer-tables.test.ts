// Starts programs on tables that a newer version has changed.
import { describe, expect } from "bun:test";
import { readMigrations } from "../../shared/store/migration-files.ts";
import { examine } from "../doctor/examine.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { kafkaTest } from "../support/requirements.ts";

describe("tables of a newer version", () => {
  kafkaTest("are used where they are compatible with this one, and refused where they are not", async () => {
    await using pipeline = await TestPipeline.start();
    const { database, bootstrapServers, topic } = pipeline;
    await pipeline.migrated();
    const known = (await readMigrations()).length;
    await database.sql`
      insert into pipeline_migrations (version, name, checksum, compatible_with)
      values (${known + 1}, 'next_step.sql', 'c', ${known})`;
    const env = {
      ...database.env,
      KAFKA_BOOTSTRAP_SERVERS: bootstrapServers,
      KAFKA_TOPIC: topic,
      KAFKA_CONSUMER_GROUP: topic,
      METRICS_PORT_CONSUMER: "0",
    };

    const healthy = await examine(env);
    expect(healthy.named("warning")).toContain("postgres_tables");
    expect(healthy.detailOf("postgres_tables")).toBe(
      "of a newer version, which has applied next_step.sql; this version works with them",
    );
    const consumer = pipeline.consumer();
    await consumer.program.printed(
      /"newer":\["next_step\.sql"\],"msg":"a newer version has changed the tables/,
    );
    await pipeline.publish(500);
    await pipeline.drained();
    await consumer.drain();
    expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });

    await database.sql`update pipeline_migrations set compatible_with = null`;
    const refusal =
      "the database has migration next_step.sql, which this version does not know and cannot work with";
    expect((await examine(env)).detailOf("postgres_tables")).toContain(refusal);
    const { program } = pipeline.consumer();
    expect(await program.exit()).toBe(1);
    expect(program.output).toContain(refusal);
  });
});
