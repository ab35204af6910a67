// Measures how fast a topic is read again after a rewind.
import { type Static, Type } from "typebox";
import { count } from "../../shared/text/format.ts";
import { runCommand } from "../../test/support/command.ts";
import type { RewindReport } from "../../workers/rewind/report.ts";
import type { Bench } from "../bench.ts";
import { simulated } from "../records.ts";
import type { Scenario } from "../scenario.ts";
import { Count, Rate, closed } from "../shapes.ts";

const RewindShape = Type.Object(
  {
    events: Count,
    /** Of those that were read again. */
    stored: Count,
    duplicates: Count,
    eventsPerSecond: Rate,
  },
  closed,
);
type Rewind = Static<typeof RewindShape>;

export const rewindScenario: Scenario<typeof RewindShape> = {
  about: "drains a full topic, and reads it again from its beginning",
  shape: RewindShape,
  run: (bench, { events = 1_000_000 }) => measureRewind(bench, events),
  lines,
};

/**
 * Drains a full topic, and rewinds it to its beginning under the running consumer.
 * @throws Error where an event is stored again, an hour changes, or `check` fails
 */
async function measureRewind(bench: Bench, events: number): Promise<Rewind> {
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

function lines({ events, stored, duplicates, eventsPerSecond }: Rewind): string[] {
  return [
    "",
    `rewind: ${count(events)} records read again, ${count(eventsPerSecond)} records/s: ${count(stored)} stored, ${count(duplicates)} duplicates, hours unchanged; check holds`,
  ];
}
