// Stops (SIGSTOP) one of two consumers in the middle of its transaction, with rows locked that the other needs.
import { describe, expect } from "bun:test";
import { CommitGate } from "../support/commit-gate.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { kafkaTest } from "../support/requirements.ts";

/** The other consumer waits for about 10 s until PostgreSQL ends the session of the stopped one. */
const GOES_ON_DEADLINE_MS = 90_000;

function backendsOf(log: string): number[] {
  return [...log.matchAll(/"backendPid":(\d+)/g)].map((match) => Number(match[1]));
}

describe("stopped consumer", () => {
  kafkaTest(
    "a consumer that is stopped with the rows of an hour locked does not stop the other",
    async () => {
      await using pipeline = await TestPipeline.start({ env: { CONSUMER_WORKERS: "1", LOG_LEVEL: "debug" } });
      const { sql } = pipeline.database;
      await using gate = await CommitGate.install(pipeline, "last statement");
      const consumers = [pipeline.consumer(), pipeline.consumer()] as const;
      await pipeline.settled();
      await pipeline.publish(1000);
      await pipeline.drained();

      // The hours are locked when a transaction is in its last statement.
      await gate.close();
      await pipeline.publish(2000);
      const backend = await gate.reached();
      const [first, second] = consumers;
      const stopped = backendsOf(first.program.output).includes(backend) ? first : second;
      const going = stopped === first ? second : first;
      expect(backendsOf(stopped.program.output)).toContain(backend);
      stopped.program.signal("SIGSTOP");
      await gate.open();
      await pipeline.until("its transaction waits for it, with its locks", async () => {
        const [row] = await sql`select state from pg_stat_activity where pid = ${backend}`;
        return row?.["state"] === "idle in transaction";
      });

      const before = await going.total("events_consumed_total");
      await pipeline.publish(2000);
      await pipeline.until(
        "the other goes on",
        async () => (await going.total("events_consumed_total")) > before,
        GOES_ON_DEADLINE_MS,
      );

      stopped.program.signal("SIGCONT");
      await pipeline.drained();
      await Promise.all([going.drain(), stopped.drain()]);
      expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
    },
    240_000,
  );

  kafkaTest(
    "a consumer that is stopped in the middle of a COPY does not stop the other",
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
      await pipeline.until(
        "its COPY waits for the table",
        async () => (await activity()) === "Lock relation",
      );
      stopped.program.signal("SIGSTOP");
      await lock`commit`;
      lock.release();
      await pipeline.until("its COPY waits for rows", async () => (await activity()) === "Client ClientRead");

      // The fence rows of its partitions are locked, and no timeout of the server's reaches that backend.
      await pipeline.publish(2000);
      await pipeline.drained(GOES_ON_DEADLINE_MS);
      expect(await activity()).toBe("");
      // The log line of the peer that ended it.
      await going.program.printed(new RegExp(`"backends":\\[[^\\]]*\\b${backend}\\b`));

      stopped.program.signal("SIGCONT");
      await pipeline.publish(2000);
      await pipeline.drained();
      await pipeline.settled();
      await Promise.all([going.drain(), stopped.drain()]);
      expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
    },
    240_000,
  );
});
