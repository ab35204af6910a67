// Tests the model of PostgreSQL against a real one: the same steps of several sessions, in any order, end alike.
// AGREEMENT_SEED=<seed> repeats a run, AGREEMENT_RUNS=<n> makes more.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { StoredOffset } from "../../../../shared/store/offsets.ts";
import { refuseContent } from "../../../support/refused-content.ts";
import { enter, GROUP, partitionKey, pipelineDatabase } from "../../../store/pipeline-database.ts";
import type { TestDatabase } from "../../../support/postgres.ts";
import type { Actor } from "./actor.ts";
import { BYSTANDER, type Operation, type Turn, turns } from "./operation.ts";
import type { PositionOf } from "./perform.ts";
import { ModelSide, RealSide } from "./sides.ts";
import { modelContents, realContents } from "./table-contents.ts";

const TIMEOUT_MS = 240_000;
const RUNS = Number(process.env["AGREEMENT_RUNS"] ?? 60);
const SEED = process.env["AGREEMENT_SEED"];
const ACTORS = BYSTANDER + 1;

const EMPTY_TABLES = [
  "raw_events",
  "hourly_aggregations",
  "hourly_users",
  "pipeline_offsets",
  "dead_letter_events",
  "sealed_hours",
]
  .map((table) => `delete from ${table};`)
  .concat("update pipeline_state set users_epoch = 0, raw_events_cutoff = null, hourly_users_cutoff = null")
  .join(" ");

let database: TestDatabase;
let real: RealSide;

beforeAll(async () => {
  database = await pipelineDatabase();
  await refuseContent(database);
  await database.sql.unsafe(`alter database "${database.name}" set deadlock_timeout = '10ms'`);
  await database.sql`update pipeline_state set consumer_group = ${GROUP}`;
  real = await RealSide.open(database, ACTORS);
});

afterAll(async () => {
  real.end();
  await database[Symbol.asyncDispose]();
});

/** What came of the steps of all runs: what never happened is not tested. */
type Tally = Map<string, number>;

/** What a run must have met: waits for locks and for unique keys, errors of each kind, and what follows them. */
const NOTEWORTHY = [
  "deadlock",
  "fence: waits",
  "fence: FenceFailed",
  "copy: waits",
  "copy: CopyFailed",
  "insert: waits",
  "insert: error 22003",
  "hours: waits",
  "hours: error 25P02",
  "advance: FenceFailed",
  "raise cut-off: done",
  "seal hours: done",
  "commit: error 22003",
  "probe: done",
  "store: done",
  "store: error 55P03",
];

/** Plays the turns on both sides, and compares after each of them what is done, and with what outcome. */
class Game {
  readonly #model: ModelSide;
  readonly #tally: Tally;
  /** Everything that has happened, for a person. */
  readonly #log: string[] = [];

  constructor(model: ModelSide, tally: Tally) {
    this.#model = model;
    this.#tally = tally;
  }

  async play(given: readonly Turn[]): Promise<void> {
    for (const { actor, operation } of given) await this.#take(actor, operation);
    // An actor that waits for another one goes on when that one has ended.
    while (this.#actors.some(({ isInTransaction, isFree }) => isInTransaction || !isFree)) {
      const next = this.#actors.findIndex(({ isInTransaction, isFree }) => isInTransaction && isFree);
      await this.#take(next, { kind: "commit" });
    }
    expect(modelContents(this.#model.model.tables)).toEqual(await realContents(database));
  }

  get #actors(): readonly Actor[] {
    return this.#model.actors;
  }

  async #take(index: number, operation: Operation): Promise<void> {
    const actor = this.#actors[index]!;
    if (!actor.canTake(operation)) return;
    const positionOf = this.#positions();
    void real.actors[index]!.take(operation, positionOf);
    void actor.take(operation, positionOf);
    this.#model.settle();
    // Each deadlock that ends may lead into another one.
    for (let cycle = this.#model.deadlocked(); cycle.length > 0; cycle = this.#model.deadlocked()) {
      const ended = await real.deadlockVictim(cycle);
      this.#count("deadlock");
      this.#model.endDeadlock(ended);
      this.#model.settle();
    }
    await real.settle();
    const outcomes = this.#actors.map(({ outcome }) => outcome ?? "waits");
    this.#log.push(`${index}: ${JSON.stringify(operation)} -> ${outcomes.join(" | ")}`);
    const expected = real.actors.map(({ outcome }) => outcome ?? "waits");
    // The history is part of the comparison, so that a failure shows it.
    const history = this.#log.join("\n");
    expect(`${history}\n${outcomes.join("\n")}`).toBe(`${history}\n${expected.join("\n")}`);
    this.#count(`${operation.kind}: ${kindOf(outcomes[index]!)}`);
  }

  /** The committed positions now; a partition without a row is taken to begin at 7. */
  #positions(): PositionOf {
    const current = this.#model.model.tables.offsets
      .rows()
      .filter(({ closedAtMs }) => closedAtMs === undefined);
    const positions = new Map<number, StoredOffset>(
      current.map(({ topic, topicId, partition, reading, nextOffset }) => [
        partition,
        { topic, topicId, partition, reading, nextOffset },
      ]),
    );
    return (partition) => positions.get(partition) ?? { ...partitionKey(partition), nextOffset: 7 };
  }

  #count(what: string): void {
    this.#tally.set(what, (this.#tally.get(what) ?? 0) + 1);
  }
}

/** An outcome without its figures. */
function kindOf(outcome: string): string {
  if (outcome === "waits" || outcome.startsWith("error ")) return outcome;
  return /^\w+(?=: )/.exec(outcome)?.[0] ?? "done";
}

async function open(): Promise<ModelSide> {
  await database.sql.unsafe(EMPTY_TABLES);
  for (const actor of real.actors) actor.reset();
  await enter(real.actors[0]!.session as never, 2);
  const model = await ModelSide.open(ACTORS, GROUP);
  const entering = enter(model.actors[0]!.session as never, 2);
  model.settle();
  await entering;
  return model;
}

describe("the model of PostgreSQL", () => {
  test(
    "answers any steps of three sessions as a real server does",
    async () => {
      const tally: Tally = new Map();
      await fc.assert(
        fc.asyncProperty(turns, async (given) => {
          await new Game(await open(), tally).play(given);
        }),
        SEED === undefined ? { numRuns: RUNS, endOnFailure: true } : { numRuns: RUNS, seed: Number(SEED) },
      );
      // Seeds of fewer runs need not reach all of it.
      if (SEED === undefined) expect(NOTEWORTHY.filter((what) => !tally.has(what))).toEqual([]);
    },
    TIMEOUT_MS,
  );
});
