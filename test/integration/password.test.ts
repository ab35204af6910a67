// Changes the password of the database while a consumer runs.
import { expect } from "bun:test";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "../support/eventually.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { kafkaTest } from "../support/requirements.ts";

kafkaTest(
  "a consumer waits while its password is refused, and resumes with the new one from the file",
  async () => {
    await using pipeline = await TestPipeline.start();
    const { sql, name } = pipeline.database;
    const user = `${name}_login`;
    const file = join(await mkdtemp(join(tmpdir(), "pipeline-secret-")), "password");
    await Bun.write(file, "first-secret\n");
    await sql.unsafe(`create role "${user}" login password 'first-secret'`);
    await sql.unsafe(`alter database "${name}" owner to "${user}"`);
    await pipeline.publish(1000);
    const consumer = pipeline.consumer({ DB_USER: user, DB_PASSWORD: "", DB_PASSWORD_FILE: file });
    await pipeline.drained();

    await sql.unsafe(`alter role "${user}" password 'second-secret'`);
    await sql`select pg_terminate_backend(pid) from pg_stat_activity where usename = ${user}`;
    await pipeline.publish(1000);
    await consumer.program.printed(/authentication failed.*DB_PASSWORD_FILE/);
    const ready = `http://127.0.0.1:${await consumer.port()}/readyz`;
    await eventually("it says so", async () => {
      const answer = await fetch(ready);
      return answer.status === 503 && (await answer.text()).includes("authentication failed");
    });
    expect(consumer.program.running).toBe(true);

    await Bun.write(file, "second-secret\n");
    await pipeline.drained();
    await eventually("it is ready", async () => (await fetch(ready)).ok);
    await consumer.drain();
    expect(consumer.program.output).not.toMatch(/first-secret|second-secret/);
    expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
  },
  120_000,
);
