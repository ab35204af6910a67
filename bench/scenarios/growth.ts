// Measures how rate and cost change as raw_events grows, and as an hour gets more users.
import { type Static, Type } from "typebox";
import { count } from "../../shared/text/format.ts";
import { formatTable } from "../../shared/text/table.ts";
import type { TestDatabase } from "../../test/support/postgres.ts";
import type { Bench, BenchRecord } from "../bench.ts";
import { COSTS, RATES, consumerCosts, toDigits } from "../columns.ts";
import { assertStored, consumerRound, drainTopic } from "../consumer-round.ts";
import { simulated, withRandomIds } from "../records.ts";
import type { Scenario, ScenarioOptions } from "../scenario.ts";
import { Cost, Count, Rate, closed, costs } from "../shapes.ts";
import { median } from "../statistics.ts";

/** What it took to store the events of one step. */
const StepShape = Type.Object(
  {
    /** In raw_events before. */
    rows: Count,
    eventsPerSecond: Rate,
    ...costs,
    walBytesPerEvent: Cost,
  },
  closed,
);

const UsersShape = Type.Object({ users: Count, eventsPerSecond: Rate, ...costs }, closed);

const GrowthShape = Type.Object(
  {
    eventsPerStep: Count,
    /** Ids as the simulator makes them: type and time come first. */
    timeLed: Type.Array(StepShape),
    /** UUIDv4 */
    random: Type.Array(StepShape),
    /** Events of one hour from so many users, into empty tables. */
    users: Type.Array(UsersShape),
  },
  closed,
);
type Step = Static<typeof StepShape>;
type Growth = Static<typeof GrowthShape>;

/** Steps at each end of a curve that are compared. */
const ENDS = 3;
const DEFAULT_ROWS = 20_000_000;
const DEFAULT_EVENTS = 1_000_000;
const USERS = [1000, 10_000, 100_000, 1_000_000];

const IDS = {
  timeLed: (records: Iterable<BenchRecord>) => records,
  random: withRandomIds,
} as const;

export const growthScenario: Scenario<typeof GrowthShape> = {
  about:
    "stores 1,000,000 events (or --events) at a time until raw_events has 20,000,000 (or --rows), with\n" +
    "ids led by time and with random ones; and events of 1,000 to 1,000,000 users: rate, costs, WAL",
  shape: GrowthShape,
  async run(bench, options) {
    return {
      eventsPerStep: options.events ?? DEFAULT_EVENTS,
      timeLed: await grow(bench, "timeLed", options),
      random: await grow(bench, "random", options),
      users: await growUsers(bench, options),
    };
  },
  lines,
};

/** Fills one topic step by step, and drains each step with a new consumer into the same table. */
async function grow(
  bench: Bench,
  ids: keyof typeof IDS,
  { events = DEFAULT_EVENTS, rows = DEFAULT_ROWS, say }: ScenarioOptions,
): Promise<Step[]> {
  const topic = await bench.topic();
  await using pipeline = await bench.pipeline(topic);
  const { database } = pipeline;
  const steps: Step[] = [];
  let stored = 0;
  while (stored < rows) {
    await bench.fill(topic, IDS[ids](simulated(events)));
    await database.sql`checkpoint`;
    const walBefore = await walBytes(database);
    const round = await drainTopic(bench, pipeline, { stored, records: events });
    const walBytesPerEvent = ((await walBytes(database)) - walBefore) / events;
    steps.push({ rows: stored, ...round, walBytesPerEvent });
    say(`growth, ${ids}, onto ${count(stored)} rows: ${count(round.eventsPerSecond)} events/s`);
    stored += events;
  }
  await assertStored(pipeline, { topic, records: stored, duplicates: 0 });
  await bench.kafka.deleteTopic(topic);
  return steps;
}

async function growUsers(
  bench: Bench,
  { events = DEFAULT_EVENTS, say }: ScenarioOptions,
): Promise<Growth["users"]> {
  const results: Growth["users"] = [];
  for (const users of USERS) {
    const topic = await bench.topic();
    await bench.fill(topic, simulated(events, Date.now, { userCount: users }));
    const round = await consumerRound(bench, { topic, records: events, duplicates: 0 });
    await bench.kafka.deleteTopic(topic);
    results.push({ users, ...round });
    say(`growth, ${count(users)} users: ${count(round.eventsPerSecond)} events/s`);
  }
  return results;
}

/** Written by the server so far. */
async function walBytes({ sql }: TestDatabase): Promise<number> {
  const [row] = await sql`select (pg_current_wal_insert_lsn() - '0/0')::float8 as bytes`;
  return Number(row?.["bytes"]);
}

function lines({ eventsPerStep, timeLed, random, users }: Growth): string[] {
  const table = (title: string, steps: readonly Step[]) => [
    "",
    `growth, ${title}: ${count(eventsPerStep)} events a step; the last ${ENDS} cost ${toDigits(lastToFirst(steps), 2)} of the first ${ENDS}`,
    ...formatTable(
      ["rows before", RATES[0]!, ...COSTS, "WAL bytes"],
      steps.map((step) => [
        step.rows,
        Math.round(step.eventsPerSecond),
        ...consumerCosts([step]),
        Math.round(step.walBytesPerEvent),
      ]),
    ),
  ];
  return [
    ...table("ids led by time", timeLed),
    ...table("random ids", random),
    "",
    `growth, users of an hour: ${count(eventsPerStep)} events into empty tables`,
    ...formatTable(
      ["users", RATES[0]!, ...COSTS],
      users.map((step) => [step.users, Math.round(step.eventsPerSecond), ...consumerCosts([step])]),
    ),
  ];
}

/** The cost of an event in the last steps by that in the first: CPU time of consumer, PostgreSQL and broker, medians. */
function lastToFirst(steps: readonly Step[]): number {
  const cost = (some: readonly Step[]) =>
    median(
      some.map(
        (step) =>
          step.clientCpuMicrosPerEvent + step.postgresCpuMicrosPerEvent + step.brokerCpuMicrosPerEvent,
      ),
    );
  return cost(steps.slice(-ENDS)) / cost(steps.slice(0, ENDS));
}
