// Runs the version before and this one in one consumer group while 5,000 records a second flow: an upgrade, a way back,
// and an upgrade again.
import { describe, expect } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { readMigrations } from "../../shared/store/migration-files.ts";
import { requiring } from "../support/requirements.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { whyNoSharedKafka } from "../support/shared-kafka.ts";
import type { TestConsumer } from "../support/test-consumer.ts";
import { checkedOut, whyNoHistory } from "./checkout.ts";
import { RELEASES, type Release } from "./releases.ts";

const RATE = 5000;
const TICK_MS = 100;
/** On a slow machine it publishes at the rate of the consumers. */
const MAX_BACKLOG = 20_000;
/** Each stage of the upgrade lasts so many records at least: two seconds. */
const STAGE_RECORDS = 2 * RATE;

const upgradeTest = requiring(
  "Kafka and the history of this repository",
  whyNoSharedKafka() ?? whyNoHistory(),
);

/** Publishes at RATE until it is disposed. */
function flow(pipeline: TestPipeline): AsyncDisposable {
  const stop = new AbortController();
  const publishing = (async () => {
    const startedAt = performance.now();
    while (!stop.signal.aborted) {
      const due = Math.floor((RATE * (performance.now() - startedAt)) / 1000) - pipeline.published.records;
      const room = MAX_BACKLOG - (pipeline.published.records - (await pipeline.consumed()));
      if (due > 0 && room > 0) await pipeline.publish(Math.min(due, room));
      await Bun.sleep(TICK_MS);
    }
  })();
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await publishing;
    },
  };
}

/** Waits until some seconds' worth of records were stored, and each of the consumers has stored some of them. */
async function storing(pipeline: TestPipeline, ...consumers: readonly TestConsumer[]): Promise<void> {
  await pipeline.settled();
  const counts = () => Promise.all(consumers.map((each) => each.total("events_consumed_total")));
  const [before, stored] = [await counts(), await pipeline.consumed()];
  await pipeline.until("each consumer stores records", async () => {
    const now = await counts();
    const all = (await pipeline.consumed()) - stored;
    return all >= STAGE_RECORDS && now.every((count, index) => count > before[index]!);
  });
}

/** The version before refuses newer tables unless it reads that they are compatible, and they say so. */
async function isRefused(root: string, { schema }: Release): Promise<boolean> {
  if (!existsSync(join(root, "shared/store/migration-history.ts"))) return true;
  const newer = (await readMigrations()).slice(schema);
  return newer.some(({ compatibleWith = Infinity }) => compatibleWith > schema);
}

/** What the README says to go back to a version that refuses newer tables, and to return. */
async function setAside({ database: { sql } }: TestPipeline, schema: number): Promise<void> {
  await sql.unsafe(`create table newer_migrations as select * from pipeline_migrations where version > ${schema};
    delete from pipeline_migrations where version > ${schema}`);
}

async function takeBack({ database: { sql } }: TestPipeline): Promise<void> {
  await sql.unsafe(
    `insert into pipeline_migrations select * from newer_migrations; drop table newer_migrations`,
  );
}

/** The errors that a consumer has logged. An alert about a lag is none: the machine may be slow. */
function faults({ program }: TestConsumer): string[] {
  const lines = program.output.split("\n");
  return lines.filter((line) => /"level":"(error|fatal)"/.test(line) && !line.includes('"alert":'));
}

describe("the version before and this one", () => {
  upgradeTest(
    "share a group while the tables are migrated, and on the way back, and each record is stored once",
    async () => {
      const files = await readMigrations();
      const before = RELEASES.findLast(({ schema }) => schema < files.length)!;
      await using checkout = await checkedOut(before.commit);
      const { root } = checkout;
      await using pipeline = await TestPipeline.start({ env: { CONSUMER_BATCH_SIZE: "2000" } });
      const schema = async () => {
        const [row] = await pipeline.database.sql`select max(version) as newest from pipeline_migrations`;
        return row?.["newest"] as number;
      };
      let first: TestConsumer;
      let last: TestConsumer;
      {
        first = pipeline.consumer({}, root);
        await using _ = flow(pipeline);
        await storing(pipeline, first);
        expect(await schema()).toBe(before.schema);

        const upgraded = pipeline.consumer();
        await storing(pipeline, first, upgraded);
        expect(await schema()).toBe(files.length);
        await first.drain();
        await storing(pipeline, upgraded);

        const refused = await isRefused(root, before);
        if (refused) {
          const { program } = pipeline.consumer({}, root);
          expect(await program.exit()).toBe(1);
          expect(program.output).toContain("a newer version made it; start that version");
          await setAside(pipeline, before.schema);
        }
        const returned = pipeline.consumer({}, root);
        await storing(pipeline, upgraded, returned);
        await upgraded.drain();
        await storing(pipeline, returned);

        if (refused) await takeBack(pipeline);
        last = pipeline.consumer();
        await storing(pipeline, returned, last);
        await returned.drain();
        await storing(pipeline, last);
        expect([first, upgraded, returned].flatMap(faults)).toEqual([]);
      }
      await pipeline.drained();
      await last.drain();
      expect(faults(last)).toEqual([]);
      expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
    },
    5 * 60_000,
  );
});
