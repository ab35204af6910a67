// Measures a rebuild of hours that were changed by hand, while events flow.
import { type Static, Type } from "typebox";
import { count } from "../../shared/text/format.ts";
import { runCommand } from "../../test/support/command.ts";
import { changeHours, hourNames } from "../../test/support/hours-by-hand.ts";
import { startProducer } from "../../test/support/process.ts";
import type { RebuildReport } from "../../workers/rebuild/report.ts";
import type { Bench } from "../bench.ts";
import { toDigits } from "../columns.ts";
import { simulated } from "../records.ts";
import type { Scenario } from "../scenario.ts";
import { Count, Rate, closed } from "../shapes.ts";

const RebuildShape = Type.Object(
  {
    /** Rows of raw_events that were compared. */
    events: Count,
    /** Rows of hourly_aggregations that were changed by hand, and that were found and mended: the same ones. */
    changed: Count,
    found: Count,
    slices: Count,
    seconds: Rate,
    eventsPerSecondMeanwhile: Rate,
  },
  closed,
);
type Rebuild = Static<typeof RebuildShape>;

export const rebuildScenario: Scenario<typeof RebuildShape> = {
  about: "changes 50 rows of hours by hand while 10,000 events/s flow, and mends them",
  shape: RebuildShape,
  run: (bench, { events = 1_000_000 }) => measureRebuild(bench, events),
  lines,
};

const HOURS = 24;
const HOUR_MS = 3_600_000;
/** Rows of hourly_aggregations. */
const CHANGED = 50;
const RATE = 10_000;
/** Events that have flowed before the rows are changed. */
const FLOWED = 50_000;

/**
 * Stores events of the last 24 hours, changes rows by hand, also of the hour that goes on, and rebuilds.
 * @throws Error unless exactly those rows are found and mended, and `check` holds while the events still flow
 */
async function measureRebuild(bench: Bench, events: number): Promise<Rebuild> {
  const topic = await bench.topic();
  const beginMs = Date.now() - HOURS * HOUR_MS;
  let made = 0;
  const now = (): number => beginMs + Math.floor((made++ / events) * HOURS * HOUR_MS);
  await bench.fill(topic, simulated(events, now));
  await using pipeline = await bench.pipeline(topic);
  const { sql } = pipeline.database;
  const consumer = pipeline.consumer();
  await pipeline.until("all is stored", async () => (await pipeline.consumed()) >= events, 600_000);
  await using load = startProducer(pipeline, { PRODUCER_RATE: String(RATE) });
  await pipeline.until("the load flows", async () => (await pipeline.consumed()) > events + FLOWED, 120_000);
  const names = await hourNames(sql);
  // The last ones are those of the hour that goes on.
  const changed = [...names.slice(0, CHANGED - 3), ...names.slice(-3)];
  await changeHours(sql, changed);
  const from = { consumed: await pipeline.consumed(), atMs: performance.now() };
  const { exitCode, stdout, stderr } = await runCommand(
    "workers/rebuild.ts",
    ["--json"],
    pipeline.database.env,
  );
  const seconds = (performance.now() - from.atMs) / 1000;
  const eventsPerSecondMeanwhile = ((await pipeline.consumed()) - from.consumed) / seconds;
  if (exitCode !== 0) throw new Error(`rebuild ended with ${exitCode}: ${stderr}${stdout}`);
  const report = JSON.parse(stdout) as RebuildReport;
  const found = report.differing.map(({ hour, event_type }) => `${hour} ${event_type}`);
  if (!Bun.deepEquals(found, changed)) {
    throw new Error(`changed ${changed.join(", ")}\nfound ${found.join(", ")}`);
  }
  const { violated } = await pipeline.ledger();
  if (violated.length > 0) throw new Error(`check fails after the rebuild: ${violated.join("; ")}`);
  load.signal("SIGTERM");
  await load.exit();
  await consumer.drain();
  return {
    events: report.events,
    changed: changed.length,
    found: found.length,
    slices: report.slices,
    seconds: report.seconds,
    eventsPerSecondMeanwhile,
  };
}

function lines({ events, changed, found, slices, seconds, eventsPerSecondMeanwhile }: Rebuild): string[] {
  return [
    "",
    `rebuild: ${changed} rows of hours changed by hand, ${found} found and mended, in ${toDigits(seconds, 1)} s: ${count(events)} events in ${slices} slices, while ${count(eventsPerSecondMeanwhile)} events/s were stored; check holds`,
  ];
}
