// Runs the consumer and check with roles that have only some rights.
import { describe, expect, test } from "bun:test";
import { TestPipeline } from "../support/pipeline.ts";
import { sharedPostgres, type TestDatabase } from "../support/postgres.ts";
import { Program } from "../support/process.ts";
import { kafkaTest } from "../support/requirements.ts";
import { migrateDatabase } from "../store/pipeline-database.ts";

/** A login without any right. */
async function outsider({ sql, name }: TestDatabase): Promise<{ DB_USER: string; DB_PASSWORD: string }> {
  const user = `${name}_outsider`;
  await sql.unsafe(`create role "${user}" login password 'p'`);
  return { DB_USER: user, DB_PASSWORD: "p" };
}

describe("a role that does not own the tables", () => {
  kafkaTest(
    "runs the consumer and check with SELECT, INSERT, UPDATE and DELETE on the tables",
    async () => {
      await using pipeline = await TestPipeline.start({ env: { FLUSH_INTERVAL_SECONDS: "0.5" } });
      const { sql, env } = pipeline.database;
      await pipeline.migrated();
      const login = await outsider(pipeline.database);
      await sql.unsafe(
        `grant select, insert, update, delete on all tables in schema public to "${login.DB_USER}"`,
      );
      await pipeline.publish(1000);
      const consumer = pipeline.consumer(login);
      await pipeline.drained();
      await pipeline.until("metrics are written and hours are closed", async () => {
        const [row] = await sql`
          select (select count(*) from pipeline_metrics) > 0 and
            not exists (select from hourly_aggregations where closed_at is null) as done`;
        return row?.["done"] === true;
      });
      await consumer.drain();
      expect(consumer.program.stderr).toBe("");

      await using check = Program.start("workers/check.ts", {
        args: ["--json"],
        env: {
          ...env,
          ...login,
          KAFKA_BOOTSTRAP_SERVERS: pipeline.bootstrapServers,
          KAFKA_TOPIC: pipeline.topic,
        },
      });
      expect(await check.exit()).toBe(0);
      expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
    },
    120_000,
  );

  const failing = async (script: string, env: Record<string, string>) => {
    await using program = Program.start(script, {
      env: {
        METRICS_PORT_CONSUMER: "0",
        HTTP_HOST: "127.0.0.1",
        KAFKA_BOOTSTRAP_SERVERS: "127.0.0.1:1",
        ...env,
      },
    });
    return { code: await program.exit(), stderr: program.stderr };
  };

  test("is told in one sentence what it lacks, by the consumer and by check", async () => {
    await using database = await (await sharedPostgres()).database();
    const login = await outsider(database);
    const env = { ...database.env, ...login };
    const grantee = `TO "${login.DB_USER}"\n`;
    expect(await failing("workers/consumer.ts", env)).toEqual({
      code: 1,
      stderr: expect.stringMatching(
        new RegExp(
          `^[^\\n]*permission denied for schema public[^\\n]*GRANT CREATE ON SCHEMA "public" ${grantee}$`,
        ),
      ),
    });

    await migrateDatabase(database);
    await database.sql.unsafe(`grant select on all tables in schema public to "${login.DB_USER}"`);
    await database.sql.unsafe(`grant insert, update on pipeline_offsets to "${login.DB_USER}"`);
    await database.sql.unsafe(`revoke select on raw_events from "${login.DB_USER}"`);
    expect(await failing("workers/consumer.ts", env)).toEqual({
      code: 1,
      stderr: expect.stringMatching(
        new RegExp(
          `^role [^\\n]* lacks the right to SELECT, INSERT, UPDATE on raw_events, hourly_[^\\n]*${grantee}$`,
        ),
      ),
    });
    expect(await failing("workers/check.ts", env)).toEqual({
      code: 1,
      stderr: expect.stringMatching(
        new RegExp(`^role [^\\n]* lacks the right to SELECT on raw_events: [^\\n]*${grantee}$`),
      ),
    });
    await database.sql.unsafe(
      `grant select, insert, update on all tables in schema public to "${login.DB_USER}"`,
    );
    expect(await failing("workers/consumer.ts", { ...env, RETENTION_DAYS: "30" })).toEqual({
      code: 1,
      stderr: expect.stringMatching(
        new RegExp(`^role [^\\n]* lacks the right to DELETE on raw_events, hourly_users, [^\\n]*${grantee}$`),
      ),
    });
    await database.sql.unsafe(
      `grant select, insert, update, delete on all tables in schema public to "${login.DB_USER}"`,
    );
    await database.sql`alter table raw_events enable row level security`;
    for (const script of ["workers/consumer.ts", "workers/check.ts"]) {
      expect(await failing(script, env)).toEqual({
        code: 1,
        stderr: expect.stringMatching(/^row-level security hides rows of raw_events from role [^\n]*\n$/),
      });
    }
  }, 60_000);
});
