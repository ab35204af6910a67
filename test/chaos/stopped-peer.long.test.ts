// One of two consumers is stopped (SIGSTOP) in the middle of its transaction, with rows locked that the other needs.
import { expect } from "bun:test";
import { TestPipeline } from "../support/pipeline.ts";
import { kafkaTest } from "../support/requirements.ts";

kafkaTest(
  "a consumer stopped after its hourly upsert does not stop the other",
  async () => {
    await using pipeline = await TestPipeline.start({ env: { CONSUMER_WORKERS: "1", LOG_LEVEL: "debug" } });
    const { sql } = pipeline.database;
    await pipeline.migrated();
    // The last statement of a transaction takes long, once: time to stop its client while the hours are locked.
    await sql`create table slow_advances (backend int)`;
    await sql`create function slow() returns trigger language plpgsql
      as 'begin perform pg_sleep(2) from slow_advances where backend = pg_backend_pid(); return null; end'`;
    await sql`create trigger slow after update on pipeline_offsets for each statement execute function slow()`;
    const victim = pipeline.consumer();
    const other = pipeline.consumer();
    await pipeline.settled();
    await pipeline.publish(1000);
    await pipeline.drained();

    const [backend] = await sql`
      select pid from pg_stat_activity
      where datname = current_database() and application_name like 'event-pipeline worker %'
      order by backend_start limit 1`;
    await sql`insert into slow_advances values (${backend!["pid"]})`;
    await pipeline.publish(2000);
    await pipeline.until("it is in its last statement", async () => {
      const [row] = await sql`select wait_event from pg_stat_activity where pid = ${backend!["pid"]}`;
      return row?.["wait_event"] === "PgSleep";
    });
    const stopped = [victim, other].find(({ program }) =>
      backendsOf(program.output).includes(Number(backend!["pid"])),
    )!;
    const going = stopped === victim ? other : victim;
    stopped.program.signal("SIGSTOP");
    await sql`delete from slow_advances`;
    await pipeline.until("its transaction waits for it, with its locks", async () => {
      const [row] = await sql`select state from pg_stat_activity where pid = ${backend!["pid"]}`;
      return row?.["state"] === "idle in transaction";
    });

    const before = await going.total("events_consumed_total");
    await pipeline.publish(2000);
    await pipeline.until(
      "the other goes on",
      async () => (await going.total("events_consumed_total")) > before,
      30_000,
    );

    stopped.program.signal("SIGCONT");
    await pipeline.drained();
    await Promise.all([going.drain(), stopped.drain()]);
    expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
  },
  120_000,
);

kafkaTest(
  "a consumer stopped in the middle of a COPY does not stop the other",
  async () => {
    await using pipeline = await TestPipeline.start({
      env: {
        CONSUMER_WORKERS: "1",
        LOG_LEVEL: "debug",
        KAFKA_CONFIG_SESSION_TIMEOUT_MS: "3000",
        KAFKA_CONFIG_HEARTBEAT_INTERVAL_MS: "500",
      },
    });
    const { sql } = pipeline.database;
    const stopped = pipeline.consumer();
    const going = pipeline.consumer();
    await pipeline.settled();
    await pipeline.publish(50);
    await pipeline.drained();

    // A COPY waits for the table before it asks for the first row: time to stop its client.
    const lock = await sql.reserve();
    await lock`begin`;
    await lock`lock table raw_events in exclusive mode`;
    await pipeline.publish(2000);
    const backend = backendsOf(stopped.program.output).at(-1)!;
    const activity = async () => {
      const [row] = await sql`
        select query, wait_event_type, wait_event from pg_stat_activity where pid = ${backend}`;
      return /^\s*copy raw_events/.test(String(row?.["query"]))
        ? `${row!["wait_event_type"]} ${row!["wait_event"]}`
        : "";
    };
    await pipeline.until("its COPY waits for the table", async () => (await activity()) === "Lock relation");
    stopped.program.signal("SIGSTOP");
    await lock`commit`;
    lock.release();
    await pipeline.until("its COPY waits for rows", async () => (await activity()) === "Client ClientRead");

    // The fence rows of its partitions are locked, and no timeout of the server's reaches that backend.
    await pipeline.publish(2000);
    await pipeline.drained(30_000);
    expect(await activity()).toBe("");
    expect(going.program.output).toContain("ended sessions that sat in a transaction");

    stopped.program.signal("SIGCONT");
    await pipeline.publish(2000);
    await pipeline.drained();
    await pipeline.settled();
    await Promise.all([going.drain(), stopped.drain()]);
    expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
  },
  120_000,
);

function backendsOf(log: string): number[] {
  return [...log.matchAll(/"backendPid":(\d+)/g)].map((match) => Number(match[1]));
}
