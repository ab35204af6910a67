// The promise: for any interleaving of batches, redeliveries, rebalances, crashes and outages, the tables equal a
// fold over the distinct valid records of the topic. FOLD_SEED=<seed> repeats a run, FOLD_RUNS=<n> makes more.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Session } from "../../shared/store/session.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { expectProven, pipelineDatabase } from "../store/pipeline-database.ts";
import { fold, hoursOf, rawRow, readTables } from "./fold.ts";
import { schedule, type Step } from "./schedule.ts";
import {
  HOUR_GRACE_MS,
  type Outcome,
  SimulatedWorker,
  type SimulatedWorkerOptions,
} from "./simulated-worker.ts";
import { type Mutation, MutantStore } from "./mutant-store.ts";
import { arbitraryWorld, type TopicScenario, type WorldOptions } from "./arbitrary-topic.ts";

const TIMEOUT_MS = 180_000;
const RUNS = Number(process.env["FOLD_RUNS"] ?? 60);
const SEED = process.env["FOLD_SEED"];

let database: TestDatabase;
/** Sessions that survived their run, for the next one. */
let sessions: Session[] = [];

beforeAll(async () => {
  database = await pipelineDatabase();
  // Two events of one id in two partitions may deadlock; it is looked for after this time.
  await database.sql.unsafe(`alter database "${database.name}" set deadlock_timeout = '20ms'`);
});

afterAll(async () => {
  for (const session of sessions) session.destroy();
  await database[Symbol.asyncDispose]();
});

/** What has happened in all runs: a fault that never came has not been survived. */
type Tally = Map<string, number>;

function count(tally: Tally, what: string): void {
  tally.set(what, (tally.get(what) ?? 0) + 1);
}

/** Plays a schedule, and then lets everything be consumed. */
async function play(
  world: TopicScenario,
  steps: readonly Step[],
  options: SimulatedWorkerOptions,
  tally: Tally,
): Promise<void> {
  await database.sql`truncate raw_events, hourly_aggregations, hourly_users, pipeline_offsets, dead_letter_events`;
  const workers = await Promise.all(
    [0, 1].map((n) => SimulatedWorker.start(database, world, options, sessions[n])),
  );
  try {
    await playWith(workers, world, steps, tally);
  } finally {
    sessions = workers.map(({ session }) => session);
  }
}

async function playWith(
  workers: readonly SimulatedWorker[],
  world: TopicScenario,
  steps: readonly Step[],
  tally: Tally,
): Promise<void> {
  const partitions = world.partitions.map((_, partition) => partition);
  for (const partition of partitions) workers[partition % 2]!.assign(partition);
  const owner = partitions.map((partition) => partition % 2);
  let clockMs = 0;

  for (const step of steps) {
    // Some hours come to their end meanwhile, so that events get late.
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
        if (step.isTold) workers[from]!.revoke(partition);
        workers[1 - from]!.assign(partition);
        owner[partition] = 1 - from;
        break;
      }
      case "resync":
        await workers[step.worker]!.resync(step.how);
        break;
    }
  }

  // What is left goes in large batches through whoever has it; a zombie hears of its loss at last.
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

/** Only a repeated run is worth shrinking: it takes its time, and the timing is never quite the same. */
const parameters = (numRuns: number) =>
  SEED === undefined ? { numRuns, endOnFailure: true } : { numRuns, seed: Number(SEED) };

/** Late events are those whose hour was due when they were processed, by the rows themselves. */
async function expectLateEvents(): Promise<void> {
  const wrong = await database.sql`
    with recomputed as (
      select date_trunc('hour', "timestamp", 'UTC') as aggregation_hour, event_type, count(*) filter (
        where processed_at >= date_trunc('hour', "timestamp", 'UTC') + interval '1 hour' + make_interval(secs => ${HOUR_GRACE_MS / 1000}::float8)
      ) as late
      from raw_events group by 1, 2
    )
    select * from recomputed join hourly_aggregations using (aggregation_hour, event_type)
    where late <> late_events or unsaved_events <> 0`;
  expect([...wrong]).toEqual([]);
}

async function expectFold(world: TopicScenario): Promise<void> {
  expect(await readTables(database)).toEqual(fold(world));
  await expectProven(database);
  await expectLateEvents();
}

function property(
  world: WorldOptions,
  tally: Tally,
  check: (world: TopicScenario) => Promise<void>,
  options: Partial<SimulatedWorkerOptions> = {},
) {
  return fc.asyncProperty(arbitraryWorld(world), schedule, async (topic, steps) => {
    await play(topic, steps, { saveRawEvents: world.saveRawEvents, ...options }, tally);
    await check(topic);
  });
}

describe("the tables equal the fold over the distinct valid records", () => {
  test(
    "whatever happens on the way",
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
    "where duplicates differ, the one stored is one of those sent, and the hours are a GROUP BY of what is stored",
    async () => {
      const tally: Tally = new Map();
      await fc.assert(
        property({ duplicates: "differing", saveRawEvents: true }, tally, async (world) => {
          const tables = await readTables(database);
          const candidates = world.partitions
            .flat()
            .flatMap(({ event }) => (event === undefined ? [] : [rawRow(event.id, event.content)]));
          expect(new Set(tables.raw.map(({ id }) => id))).toEqual(new Set(candidates.map(({ id }) => id)));
          for (const row of tables.raw) expect(candidates).toContainEqual(row);
          const expected = fold(world);
          expect(tables).toEqual({ ...expected, raw: tables.raw, hours: hoursOf(tables.raw) });
          await expectProven(database);
          await expectLateEvents();
        }),
        parameters(RUNS),
      );
    },
    TIMEOUT_MS,
  );

  test(
    "without raw rows the hours do, where every id is used once",
    async () => {
      const tally: Tally = new Map();
      await fc.assert(
        property({ duplicates: "none", saveRawEvents: false }, tally, async (world) => {
          const expected = fold(world);
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

describe("the property can fail:", () => {
  const WORLD = { duplicates: "same", saveRawEvents: true } as const;
  const withMutation = (breach: Mutation) =>
    property(WORLD, new Map(), expectFold, { makeCommitter: (session) => new MutantStore(session, breach) });

  test(
    "the double that keeps every rule passes",
    async () => {
      await fc.assert(withMutation("none"), parameters(20));
    },
    TIMEOUT_MS,
  );

  test.each(["no fence", "duplicates count", "users count again", "dead letters are dropped"] as const)(
    "%s",
    async (breach) => {
      const { failed, errorInstance } = await fc.check(withMutation(breach), {
        numRuns: 200,
        endOnFailure: true,
      });
      expect(failed).toBe(true);
      // It is the tables that are wrong, or are about to be: two at once may store a dead letter twice.
      const twice = breach === "no fence" ? "|dead_letter_events_pkey" : "";
      expect(String(errorInstance)).toMatch(new RegExp(`toEqual${twice}`));
    },
    TIMEOUT_MS,
  );
});
