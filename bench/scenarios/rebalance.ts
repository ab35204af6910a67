// Measures for how long the flow stands still while consumers join and leave the group under a steady load.
import { type Static, Type } from "typebox";
import { count } from "../../shared/text/format.ts";
import { formatTable } from "../../shared/text/table.ts";
import type { TestPipeline } from "../../test/support/pipeline.ts";
import type { Bench } from "../bench.ts";
import { endLoad, startLoad } from "../load.ts";
import type { Scenario } from "../scenario.ts";
import { Count, Rate, closed } from "../shapes.ts";

const PhaseShape = Type.Object(
  {
    phase: Type.String(),
    /** The longest time in which nothing was stored of any partition. */
    longestStandstillMs: Rate,
    /** The longest time in which nothing was stored of some partition. */
    longestPartitionStandstillMs: Rate,
  },
  closed,
);
const RebalanceShape = Type.Object(
  { ratePerSecond: Rate, events: Count, phases: Type.Array(PhaseShape) },
  closed,
);
type Phase = Static<typeof PhaseShape>;
type Rebalance = Static<typeof RebalanceShape>;

const RATE_PER_SECOND = 20_000;
const PHASE_MS = 8000;
/** Between two looks at the stored offsets; bounds the error of a standstill. */
const LOOK_EVERY_MS = 10;

export const rebalanceScenario: Scenario<typeof RebalanceShape> = {
  about: `how long the flow stands still while consumers join and drain, at ${count(RATE_PER_SECOND)} events/s`,
  shape: RebalanceShape,
  run: (bench) => measureRebalances(bench),
  lines,
};

/** @throws Error when what is stored is not what was published */
async function measureRebalances(bench: Bench): Promise<Rebalance> {
  await using pipeline = await bench.pipeline(await bench.topic());
  const first = pipeline.consumer();
  await pipeline.settled();
  const load = await startLoad(pipeline, RATE_PER_SECOND);
  const phases: Phase[] = [];
  const watch = async (phase: string, act: () => Promise<void> = async () => {}) =>
    phases.push({ phase, ...(await longestStandstills(pipeline, act)) });
  await watch("no change");
  const second = pipeline.consumer();
  await watch("a second consumer joins", () => pipeline.settled());
  await watch("it drains", () => second.drain());
  const third = pipeline.consumer();
  await watch("another one joins", () => pipeline.settled());
  await watch("the first one drains", () => first.drain());
  const acknowledged = await endLoad(load);
  await pipeline.until("all is stored", async () => (await pipeline.consumed()) >= acknowledged);
  await third.drain();
  const { violated, accounted } = await pipeline.ledger();
  if (violated.length > 0) throw new Error(`check fails after the rebalances: ${violated.join("; ")}`);
  if (accounted.records !== acknowledged) {
    throw new Error(`${accounted.records} records are stored, ${acknowledged} were acknowledged`);
  }
  return { ratePerSecond: RATE_PER_SECOND, events: acknowledged, phases };
}

/** Looks at the stored offsets while something is done, and for some seconds at least. */
async function longestStandstills(
  { database: { sql } }: TestPipeline,
  act: () => Promise<void>,
): Promise<Omit<Phase, "phase">> {
  const stored = new Map<number, number>();
  const movedAt = new Map<number, number>();
  const startedAt = performance.now();
  let anyMovedAt = startedAt;
  let longestStandstillMs = 0;
  let longestPartitionStandstillMs = 0;
  const progress = { isDone: false };
  const acted = act().finally(() => (progress.isDone = true));
  while (!progress.isDone || performance.now() - startedAt < PHASE_MS) {
    const rows = await sql<{ partition: number; at: string }[]>`
      select partition, next_offset as at from pipeline_offsets`;
    const now = performance.now();
    for (const { partition, at } of rows) {
      const offset = Number(at);
      if (stored.get(partition) === offset) {
        const sinceMs = now - (movedAt.get(partition) ?? startedAt);
        longestPartitionStandstillMs = Math.max(longestPartitionStandstillMs, sinceMs);
        continue;
      }
      stored.set(partition, offset);
      movedAt.set(partition, now);
      anyMovedAt = now;
    }
    longestStandstillMs = Math.max(longestStandstillMs, now - anyMovedAt);
    await Bun.sleep(LOOK_EVERY_MS);
  }
  await acted;
  return { longestStandstillMs, longestPartitionStandstillMs };
}

function lines({ ratePerSecond, events, phases }: Rebalance): string[] {
  return [
    "",
    `rebalance: ${count(events)} events at ${count(ratePerSecond)}/s; longest time without a commit, in ms; check holds`,
    ...formatTable(
      ["", "of all", "of one partition"],
      phases.map(({ phase, longestStandstillMs, longestPartitionStandstillMs }) => [
        phase,
        Math.round(longestStandstillMs),
        Math.round(longestPartitionStandstillMs),
      ]),
    ),
  ];
}
