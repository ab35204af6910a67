// Changes the password of the database under load, and ends all sessions each time.
import { expect } from "bun:test";
import { mkdtemp, rename } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TestPipeline } from "../support/pipeline.ts";
import { kafkaTest } from "../support/requirements.ts";

const RECORDS_PER_SECOND = 2000;
const CHANGES = 3;

/** Publishes at a steady rate until it is stopped. */
function startLoad(pipeline: TestPipeline): { stop(): Promise<void> } {
  const startedAt = performance.now();
  const stopped = new AbortController();
  const running = (async () => {
    while (!stopped.signal.aborted) {
      const due = Math.floor(((performance.now() - startedAt) / 1000) * RECORDS_PER_SECOND);
      await pipeline.publish(Math.max(0, due - pipeline.published.records));
      await Bun.sleep(50);
    }
  })();
  return {
    stop() {
      stopped.abort();
      return running;
    },
  };
}

for (const [variable, value] of [
  ["DB_PASSWORD_FILE", (file: string) => file],
  ["DB_PASSWORD_COMMAND", (file: string) => `cat ${file}`],
] as const) {
  kafkaTest(
    `no record is lost or counted twice while the password that ${variable} gives changes under load`,
    async () => {
      await using pipeline = await TestPipeline.start();
      const { sql, name } = pipeline.database;
      const user = `${name}_login`;
      const file = join(await mkdtemp(join(tmpdir(), "pipeline-secret-")), "password");
      const setPassword = async (password: string) => {
        await sql.unsafe(`alter role "${user}" password '${password}'`);
        await Bun.write(`${file}.new`, `${password}\n`);
        await rename(`${file}.new`, file);
      };
      await sql.unsafe(`create role "${user}" login`);
      await sql.unsafe(`alter database "${name}" owner to "${user}"`);
      await sql.unsafe(`grant all on all tables in schema public to "${user}"`);
      await setPassword("passphrase0");
      const consumer = pipeline.consumer({ DB_USER: user, DB_PASSWORD: "", [variable]: value(file) });
      const load = startLoad(pipeline);
      await pipeline.until("records are stored", async () => (await pipeline.consumed()) > 0);

      for (let change = 1; change <= CHANGES; change++) {
        await setPassword(`passphrase${change}`);
        const ended = await sql`
          select pg_terminate_backend(pid) from pg_stat_activity where usename = ${user} and pid <> pg_backend_pid()`;
        expect(ended.length).toBeGreaterThan(0);
        const published = pipeline.published.records;
        // In a second's worth of records: the flow keeps up with the load again.
        await pipeline.until("the consumer has caught up", async () => {
          const consumed = await pipeline.consumed();
          return consumed > published && pipeline.published.records - consumed < RECORDS_PER_SECOND;
        });
      }

      await load.stop();
      await pipeline.drained();
      await consumer.drain();
      expect(consumer.program.output).not.toContain("passphrase");
      expect(await pipeline.ledger()).toEqual({
        exitCode: 0,
        violated: [],
        accounted: pipeline.published,
      });
    },
    180_000,
  );
}
