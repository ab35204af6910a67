// Measures what the retention costs at a steady load, and how long a check of a big table takes.
import { type Static, Type } from "typebox";
import { count } from "../../shared/text/format.ts";
import { formatTable } from "../../shared/text/table.ts";
import type { TestPipeline } from "../../test/support/pipeline.ts";
import type { TestDatabase } from "../../test/support/postgres.ts";
import { Program } from "../../test/support/process.ts";
import { type Bench, bytesOf } from "../bench.ts";
import { bigTable } from "../big-table.ts";
import { toDigits } from "../columns.ts";
import { cpuMicros, treeCpuMicros } from "../processes.ts";
import { simulated } from "../records.ts";
import type { Scenario } from "../scenario.ts";
import { Cost, Count, Rate, closed } from "../shapes.ts";

const RetentionRoundShape = Type.Object(
  {
    /** While hours are cut. */
    eventsPerSecond: Rate,
    clientCpuMicrosPerEvent: Cost,
    postgresCpuMicrosPerEvent: Cost,
    pruned: Count,
    /** Of raw_events with its indexes, after each hour. */
    megabytes: Type.Array(Count),
    longestStepMs: Cost,
  },
  closed,
);

const RetentionShape = Type.Object(
  {
    /** Events a second that are published. */
    rate: Rate,
    cuts: Count,
    without: RetentionRoundShape,
    with: RetentionRoundShape,
    /** Of the table that is checked. */
    events: Count,
    checkSeconds: Rate,
    checkLastDaySeconds: Rate,
    checkLastHourSeconds: Rate,
  },
  closed,
);
type RetentionRound = Static<typeof RetentionRoundShape>;
type Retention = Static<typeof RetentionShape>;

const HOUR_MS = 3_600_000;
const RATE = 10_000;
/** The events' time runs faster than the clock: an hour of it has so many seconds. */
const HOUR_SECONDS = 8;
/** Hours that are kept. */
const KEPT = 10;
const CUTS = 10;
const MIB = 1024 * 1024;
const CHECK_DEADLINE_MS = 3_600_000;

/** The consumers delete what is below the cut-off, which the bench raises; by their own clock nothing is old enough. */
const ON = { RETENTION_DAYS: "36500", HOURLY_USERS_RETENTION_DAYS: "36500" };

export const retentionScenario: Scenario<typeof RetentionShape> = {
  about:
    "deletes old hours while 10,000 events/s flow, compared with a run that keeps them; checks a big\n" +
    "table, all of it and since its last hours",
  shape: RetentionShape,
  run: (bench, { events = 2_000_000, say }) => measureRetention(bench, events, say),
  lines,
};

/**
 * @param events of the table that is checked
 * @throws Error where `check` fails
 */
async function measureRetention(
  bench: Bench,
  events: number,
  say: (line: string) => void,
): Promise<Retention> {
  const without = await measureRound(bench, {}, say);
  const pruned = await measureRound(bench, ON, say);
  const checks = await timeChecks(bench, events, say);
  return { rate: RATE, cuts: CUTS, without, with: pruned, ...checks };
}

async function measureRound(
  bench: Bench,
  env: Readonly<Record<string, string>>,
  say: (line: string) => void,
): Promise<RetentionRound> {
  const topic = await bench.topic();
  await using pipeline = await bench.pipeline(topic, { FLUSH_INTERVAL_SECONDS: "1", ...env });
  const { sql } = pipeline.database;
  const isOn = Object.keys(env).length > 0;
  const consumer = pipeline.consumer();
  await consumer.port();
  await pipeline.settled();
  const cpu = () => Promise.all([cpuMicros(consumer.program.pid), treeCpuMicros(bench.postgres.pid!)]);
  const firstHour = Math.floor(Date.now() / HOUR_MS) - KEPT - CUTS - 1;
  const startedAt = performance.now();
  const untilHour = (hour: number) =>
    Bun.sleep(Math.max(0, startedAt + hour * HOUR_SECONDS * 1000 - performance.now()));
  const load = publish(pipeline, firstHour, startedAt);
  load.catch(() => undefined);
  await untilHour(KEPT);
  const from = { atMs: performance.now(), events: await pipeline.consumed(), cpu: await cpu() };
  const megabytes: number[] = [];
  for (let cut = 0; cut < CUTS; cut++) {
    await untilHour(KEPT + cut);
    if (isOn) {
      await raiseCutoff(pipeline, firstHour + cut + 1);
      await untilPruned(pipeline);
    }
    // As autovacuum does in time; an hour has only seconds here. Empty pages at the end stay, so that growth shows.
    await sql`vacuum (truncate false) raw_events, hourly_users`;
    const [table] = await sql<[{ bytes: string }]>`select pg_total_relation_size('raw_events') as bytes`;
    megabytes.push(Math.round(Number(table.bytes) / MIB));
    const { violated } = await pipeline.ledger();
    if (violated.length > 0) throw new Error(`check fails after cut ${cut + 1}: ${violated.join("; ")}`);
    say(`${isOn ? "with" : "without"} retention, cut ${cut + 1} of ${CUTS}: ${megabytes.at(-1)!} MiB`);
  }
  const sent = await load;
  await pipeline.until("all is stored", async () => (await pipeline.consumed()) >= sent, 600_000);
  const seconds = (performance.now() - from.atMs) / 1000;
  const events = sent - from.events;
  const [client = 0, postgres = 0] = (await cpu()).map(
    (micros, index) => (micros - from.cpu[index]!) / events,
  );
  const [counts] = await sql<[{ pruned: number }]>`
    select coalesce(sum(pruned_events), 0)::int as pruned from sealed_hours`;
  const steps = [...consumer.program.output.matchAll(/"longestMs":(\d+)/g)].map(([, ms]) => Number(ms));
  await consumer.drain();
  return {
    eventsPerSecond: events / seconds,
    clientCpuMicrosPerEvent: client,
    postgresCpuMicrosPerEvent: postgres,
    pruned: counts.pruned,
    megabytes,
    longestStepMs: Math.max(0, ...steps),
  };
}

/** Publishes at a steady rate, hour after hour of the events' time. @returns how many */
async function publish(pipeline: TestPipeline, firstHour: number, startedAt: number): Promise<number> {
  const seconds = (KEPT + CUTS + 1) * HOUR_SECONDS;
  for (let second = 0; second < seconds; second++) {
    await Bun.sleep(Math.max(0, startedAt + second * 1000 - performance.now()));
    const beginMs = firstHour * HOUR_MS + (second / HOUR_SECONDS) * HOUR_MS;
    let made = 0;
    const now = () => beginMs + Math.floor((made++ / RATE) * (HOUR_MS / HOUR_SECONDS));
    await pipeline.send([...bytesOf(simulated(RATE, now, { instance: `second${second}_` }))]);
  }
  return seconds * RATE;
}

/** As the consumers do when an hour has become old enough. */
async function raiseCutoff({ database: { sql } }: TestPipeline, hour: number): Promise<void> {
  const cutoff = new Date(hour * HOUR_MS).toISOString();
  await sql`
    update pipeline_state set users_epoch = users_epoch + 1, raw_events_cutoff = ${cutoff}, hourly_users_cutoff = ${cutoff}`;
}

/** Waits until nothing below the cut-off is left. */
async function untilPruned(pipeline: TestPipeline): Promise<void> {
  const { sql } = pipeline.database;
  await pipeline.until("the hour is deleted", async () => {
    const [row] = await sql<[{ left: number; unsealed: number }]>`
      select (select count(*)::int from sealed_hours where events_pruned_at is null or users_pruned_at is null) as left,
        (select count(*)::int from hourly_aggregations h, pipeline_state where aggregation_hour < retention_cutoff
          and not exists (select from sealed_hours s where s.aggregation_hour = h.aggregation_hour
            and s.event_type = h.event_type)) as unsealed`;
    return row.left + row.unsealed === 0;
  });
}

async function timeChecks(
  bench: Bench,
  events: number,
  say: (line: string) => void,
): Promise<Pick<Retention, "events" | "checkSeconds" | "checkLastDaySeconds" | "checkLastHourSeconds">> {
  const database = await bench.database();
  say(`storing ${events} events`);
  const lastHour = await bigTable(database, events);
  const hours = (number: number) =>
    new Date(lastHour.getTime() - (number - 1) * HOUR_MS).toISOString().slice(0, 13);
  return {
    events,
    checkLastHourSeconds: await timeCheck(database, ["--since", hours(1)]),
    checkLastDaySeconds: await timeCheck(database, ["--since", hours(24)]),
    checkSeconds: await timeCheck(database, ["--minutes", "60"]),
  };
}

/** The whole program, its start included. */
async function timeCheck({ env }: TestDatabase, args: readonly string[]): Promise<number> {
  const startedAt = performance.now();
  await using program = Program.start("workers/check.ts", { args, env });
  const code = await program.exit(CHECK_DEADLINE_MS);
  if (code !== 0) throw new Error(`check ${args.join(" ")} ended with ${code}:\n${program.output}`);
  return (performance.now() - startedAt) / 1000;
}

function lines(report: Retention): string[] {
  const { rate, cuts, events, checkSeconds, checkLastDaySeconds, checkLastHourSeconds } = report;
  const rows = (["without", "with"] as const).map((variant) => {
    const round = report[variant];
    return [
      `${variant} retention`,
      Math.round(round.eventsPerSecond),
      toDigits(round.clientCpuMicrosPerEvent, 2),
      toDigits(round.postgresCpuMicrosPerEvent, 2),
      round.pruned,
      `${Math.min(...round.megabytes)} to ${Math.max(...round.megabytes)}`,
      round.longestStepMs,
    ];
  });
  return [
    "",
    `retention: ${count(rate)} events/s, an hour deleted ${cuts} times, vacuumed and checked after each; check holds`,
    ...formatTable(
      ["", "events/s", "µs CPU/event", "PostgreSQL", "deleted", "MiB", "longest step, ms"],
      rows,
    ),
    `check of ${count(events)} events: all in ${toDigits(checkSeconds, 1)} s, since the last day in ${toDigits(checkLastDaySeconds, 1)} s, since the last hour in ${toDigits(checkLastHourSeconds, 1)} s`,
  ];
}
