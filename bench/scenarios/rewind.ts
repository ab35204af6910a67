// Measures how fast a topic is read again after a rewind.
import { runCommand } from "../../test/support/command.ts";
import type { RewindReport } from "../../workers/rewind/report.ts";
import type { Bench } from "../bench.ts";
import { simulated } from "../records.ts";
import type { Rewind } from "../report.ts";

/**
 * Drains a full topic, and rewinds it to its beginning under the running consumer.
 * @throws Error where an event is stored again, an hour changes, or `check` fails
 */
export async function rewind(bench: Bench, events: number): Promise<Rewind> {
  const topic = await bench.topic();
  await bench.fill(topic, simulated(events));
  await using pipeline = await bench.pipeline(topic);
  const { sql } = pipeline.database;
  const consumer = pipeline.consumer();
  await pipeline.until("all is stored", async () => (await pipeline.consumed()) >= events, 600_000);
  const hours = async () =>
    JSON.stringify([
      await sql`select * from hourly_aggregations order by 1, 2`,
      await sql`select count(*) from hourly_users`,
      await sql`select count(*) from raw_events`,
    ]);
  const before = await hours();
  const { exitCode, stdout, stderr } = await runCommand(
    "workers/rewind.ts",
    ["--topic", topic, "--to", "0", "--json"],
    { ...pipeline.database.env, KAFKA_BOOTSTRAP_SERVERS: bench.kafka.bootstrapServers },
  );
  if (exitCode !== 0) throw new Error(`rewind ended with ${exitCode}: ${stderr}`);
  const { read_again: again, seconds } = JSON.parse(stdout) as RewindReport;
  if (again?.is_whole !== true || again.stored !== 0 || again.duplicates !== events) {
    throw new Error(`read again: ${JSON.stringify(again)}`);
  }
  if ((await hours()) !== before) throw new Error("the rewind has changed the hours");
  await consumer.drain();
  const { violated } = await pipeline.ledger();
  if (violated.length > 0) throw new Error(`check fails after the rewind: ${violated.join("; ")}`);
  return {
    events,
    stored: again.stored,
    duplicates: again.duplicates,
    eventsPerSecond: events / seconds!,
  };
}
