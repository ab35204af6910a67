// Tests the main property: after any interleaving of batches, redeliveries, rebalances, crashes and outages, the tables
// equal a fold over the distinct valid records of the topic. FOLD_SEED=<seed> repeats a run, FOLD_RUNS=<n> makes more.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Session } from "../../shared/store/session.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { refuseContent } from "../support/refused-content.ts";
import { expectProven, pipelineDatabase, STORE_OPTIONS } from "../store/pipeline-database.ts";
import { fold, hoursOf, rawRow, readTables } from "./fold.ts";
import { schedule, type Step } from "./schedule.ts";
import { type Outcome, SimulatedWorker, type SimulatedWorkerOptions } from "./simulated-worker.ts";
import { type Mutation, MutantStore } from "./mutant-store.ts";
import { arbitraryTopic, type ScenarioOptions, type TopicScenario } from "./arbitrary-topic.ts";

const TIMEOUT_MS = 180_000;
const RUNS = Number(process.env["FOLD_RUNS"] ?? 60);
const SEED = process.env["FOLD_SEED"];

let database: TestDatabase;
/** Sessions that survived their run, reused by the next one. */
let sessions: Session[] = [];

beforeAll(async () => {
  database = await pipelineDatabase();
  await refuseContent(database);
  // Events of one id in two partitions may deadlock; PostgreSQL looks for that after this time.
  await database.sql.unsafe(`alter database "${database.name}" set deadlock_timeout = '20ms'`);
});

afterAll(async () => {
  for (const session of sessions) session.destroy();
  await database[Symbol.asyncDispose]();
});

/** Takes half of the time of a TRUNCATE, which creates new files for every table and index. */
const EMPTY_TABLES = [
  "raw_events",
  "hourly_aggregations",
  "hourly_users",
  "pipeline_offsets",
  "dead_letter_events",
]
  .map((table) => `delete from ${table};`)
  .join(" ");

/** What happened in all runs: a fault that never happened proves nothing. */
type Tally = Map<string, number>;

function count(tally: Tally, what: string): void {
  tally.set(what, (tally.get(what) ?? 0) + 1);
}

/** Plays a schedule, then consumes the rest. */
async function play(
  scenario: TopicScenario,
  steps: readonly Step[],
  options: SimulatedWorkerOptions,
  tally: Tally,
): Promise<void> {
  await database.sql.unsafe(EMPTY_TABLES);
  const workers = await Promise.all(
    [0, 1].map((n) => SimulatedWorker.start(database, scenario, options, sessions[n])),
  );
  try {
    await playWith(workers, scenario, steps, tally);
  } finally {
    sessions = workers.map(({ session }) => session);
  }
}

async function playWith(
  workers: readonly SimulatedWorker[],
  scenario: TopicScenario,
  steps: readonly Step[],
  tally: Tally,
): Promise<void> {
  const partitions = scenario.partitions.map((_, partition) => partition);
  for (const partition of partitions) workers[partition % 2]!.assign(partition);
  const owner = partitions.map((partition) => partition % 2);
  let clockMs = 0;

  for (const step of steps) {
    // Time passes, so that hours end and events are late.
    clockMs += 7 * 60_000;
    switch (step.kind) {
      case "one":
        count(tally, await run(workers[step.worker]!, step.commit, clockMs));
        break;
      case "both": {
        const outcomes = await Promise.allSettled(
          step.commits.map((commit, n) => run(workers[n]!, commit, clockMs)),
        );
        for (const outcome of outcomes) {
          if (outcome.status === "rejected") throw outcome.reason;
          count(tally, outcome.value);
        }
        break;
      }
      case "hand over": {
        const partition = step.partition % partitions.length;
        const from = owner[partition]!;
        if (step.isNotified) workers[from]!.revoke(partition);
        workers[1 - from]!.assign(partition);
        owner[partition] = 1 - from;
        break;
      }
      case "resync":
        await workers[step.worker]!.resync(step.how);
        break;
    }
  }

  // The owners consume the rest in large batches; zombies are notified of their loss at last.
  for (const [partition, worker] of owner.entries()) workers[1 - worker]!.revoke(partition);
  const rest = Array.from({ length: 200 }, (_, n) => n);
  for (const worker of workers) {
    for (let tries = 0; !worker.isDone(); tries++) {
      if (tries > 20) throw new Error("the rest is never consumed");
      await worker.commit(rest, [], clockMs, { kind: "none" });
    }
  }
}

async function run(
  worker: SimulatedWorker,
  { picks, ahead, fault }: Extract<Step, { kind: "one" }>["commit"],
  clockMs: number,
) {
  const outcome: Outcome = await worker.commit(picks, ahead, clockMs, fault);
  return fault.kind === "none" || outcome === "nothing" ? outcome : `${fault.kind}: ${outcome}`;
}

/** Only a repeated run is shrunk: shrinking is slow, and the timing differs from run to run. */
const parameters = (numRuns: number) =>
  SEED === undefined ? { numRuns, endOnFailure: true } : { numRuns, seed: Number(SEED) };

/** Asserts late_events by the rows: an event is late whose hour was due when it was processed. */
async function expectLateEvents(): Promise<void> {
  const wrong = await database.sql`
    with recomputed as (
      select date_trunc('hour', "timestamp", 'UTC') as aggregation_hour, event_type, count(*) filter (
        where processed_at >= date_trunc('hour', "timestamp", 'UTC') + interval '1 hour' + make_interval(secs => ${STORE_OPTIONS.hourGraceMs / 1000}::float8)
      ) as late
      from raw_events group by 1, 2
    )
    select * from recomputed join hourly_aggregations using (aggregation_hour, event_type)
    where late <> late_events or unsaved_events <> 0`;
  expect([...wrong]).toEqual([]);
}

async function expectFold(scenario: TopicScenario): Promise<void> {
  expect(await readTables(database)).toEqual(fold(scenario));
  await Promise.all([expectProven(database), expectLateEvents()]);
}

function property(
  scenarios: ScenarioOptions,
  tally: Tally,
  check: (scenario: TopicScenario) => Promise<void>,
  options: Partial<SimulatedWorkerOptions> = {},
) {
  return fc.asyncProperty(arbitraryTopic(scenarios), schedule, async (topic, steps) => {
    await play(topic, steps, { saveRawEvents: scenarios.saveRawEvents, ...options }, tally);
    await check(topic);
  });
}

describe("the tables", () => {
  test(
    "equal the fold over the distinct valid records after any schedule",
    async () => {
      const tally: Tally = new Map();
      await fc.assert(
        property({ duplicates: "same", saveRawEvents: true }, tally, expectFold),
        parameters(RUNS * 2),
      );
      for (const what of [
        "committed",
        "fence",
        "crash: connection",
        "lost answer: connection",
        "kill: connection",
      ]) {
        expect(`${what}: ${tally.get(what) ?? "never"}`).not.toContain("never");
      }
    },
    TIMEOUT_MS,
  );

  test(
    "hold one of the events of each id when duplicates differ, and the hours are a GROUP BY of the stored events",
    async () => {
      const tally: Tally = new Map();
      await fc.assert(
        property({ duplicates: "differing", saveRawEvents: true }, tally, async (scenario) => {
          const tables = await readTables(database);
          const candidates = scenario.partitions
            .flat()
            .flatMap(({ event }) => (event === undefined ? [] : [rawRow(event.id, event.content)]));
          expect(new Set(tables.raw.map(({ id }) => id))).toEqual(new Set(candidates.map(({ id }) => id)));
          for (const row of tables.raw) expect(candidates).toContainEqual(row);
          const expected = fold(scenario);
          expect(tables).toEqual({ ...expected, raw: tables.raw, hours: hoursOf(tables.raw) });
          await Promise.all([expectProven(database), expectLateEvents()]);
        }),
        parameters(RUNS),
      );
    },
    TIMEOUT_MS,
  );

  test(
    "have the right hours without raw rows when every id is used once",
    async () => {
      const tally: Tally = new Map();
      await fc.assert(
        property({ duplicates: "none", saveRawEvents: false }, tally, async (scenario) => {
          const expected = fold(scenario);
          expect(await readTables(database)).toEqual({ ...expected, raw: [] });
          const [row] = await database.sql`
            select coalesce(sum(unsaved_events), 0)::int as unsaved, coalesce(sum(total_events), 0)::int as total from hourly_aggregations`;
          expect({ ...row }).toEqual({ unsaved: expected.raw.length, total: expected.raw.length });
        }),
        parameters(RUNS),
      );
    },
    TIMEOUT_MS,
  );
});

describe("the property", () => {
  const SCENARIOS = { duplicates: "same", saveRawEvents: true } as const;
  const withMutation = (mutation: Mutation) =>
    property(SCENARIOS, new Map(), expectFold, {
      makeCommitter: (session) => new MutantStore(session, mutation),
    });

  test(
    "holds for a double of the store that breaks no rule",
    async () => {
      await fc.assert(withMutation("none"), parameters(20));
    },
    TIMEOUT_MS,
  );

  test.each(["no fence", "duplicates count", "users count again", "dead letters are dropped"] as const)(
    "fails for a store with this mutation: %s",
    async (mutation) => {
      const { failed, errorInstance } = await fc.check(withMutation(mutation), {
        numRuns: 200,
        endOnFailure: true,
      });
      expect(failed).toBe(true);
      // The tables are wrong, or the key stops them: two workers at once may store a dead letter twice.
      const twice = mutation === "no fence" ? "|dead_letter_events_pkey" : "";
      expect(String(errorInstance)).toMatch(new RegExp(`toEqual${twice}`));
    },
    TIMEOUT_MS,
  );
});
