// Runs one history: consumers under faults, and the proofs of what must hold in it.

import { SeededChoices } from "../support/seeded-random.ts";
import { errorMessage } from "../../shared/runtime/errors.ts";
import type { Counters } from "./counters.ts";
import { FAULT_NAMES, FAULTS } from "./faults.ts";
import { PARTITION_FAULT_NAMES, PARTITION_FAULTS } from "./kafka-faults.ts";
import type { Trace } from "./trace.ts";
import { Violated } from "./violations.ts";
import { VirtualTime } from "./virtual-time.ts";
import { withVirtualGlobals } from "./virtual-globals.ts";
import { World } from "./world.ts";

/** After the last fault has ended, all is consumed and well within this time. */
const LIVENESS_MS = 45_000;
/** What happens to one partition does not hold up the others. */
const LIVENESS_OF_OTHERS_MS = 20_000;
const CHECK_MS = 200;
/** Kafka answers, or the client gives up, within this time. */
const ANSWERS_MS = 5000;
/** A worker without anything to do looks about four times a second. */
const REST_MS = 3000;
const MAX_TURNS_AT_REST = 60;
const DRAIN_MS = 40_000;
/** How long a fault lasts, ms. */
const DURATIONS = [20, 200, 1000, 3000, 12_000, 40_000];

export interface History {
  readonly seed: number;
  /** What does not hold; undefined where all does. */
  readonly failure: string | undefined;
  readonly trace: Trace;
  readonly counters: Counters;
  readonly virtualMs: number;
}

export function runHistory(seed: number): History {
  const choices = new SeededChoices(seed);
  const time = new VirtualTime(choices.random);
  return withVirtualGlobals(time, () => {
    const world = new World(time, choices);
    let failure: string | undefined;
    try {
      play(world);
    } catch (error) {
      const isViolated = error instanceof Violated || !(error instanceof Error);
      failure = isViolated ? errorMessage(error) : error.stack;
    }
    return { seed, failure, trace: world.trace, counters: world.counters, virtualMs: time.nowMs() };
  });
}

function play(world: World): void {
  const { choices, time } = world;
  const phaseMs = choices.one([500, 2000, 6000, 15_000]);
  createTopics(world, phaseMs);
  for (let n = 1 + choices.below(3); n > 0; n--) {
    time.after(choices.once(2) ? 0 : choices.below(phaseMs), () => world.startConsumer());
  }
  if (choices.once(8)) withTroubleInOnePartition(world, phaseMs);
  else {
    const healed = planFaults(world, phaseMs);
    run(world, phaseMs, () => false);
    run(world, Infinity, () => healed() && world.hasAllRecords);
  }
  heal(world);
  expectWell(world);
  expectRest(world);
  // An answer that was late may have been missed meanwhile.
  expectWell(world);
  drain(world);
  world.oracle.checkAll(world.postgres.tables);
}

function createTopics(world: World, phaseMs: number): void {
  const { cluster, choices } = world;
  for (const name of choices.once(3) ? ["user-events", "clicks"] : ["user-events"]) {
    const starts = Array.from({ length: 1 + choices.below(4) }, () => choices.one([0, 0, 17, 5_000_000_000]));
    const { logs } = cluster.createTopic(name, starts);
    for (const log of logs) {
      for (let pieces = choices.below(4); pieces >= 0; pieces--) {
        const records = world.records(choices.below(15));
        world.appendAfter(choices.once(3) ? 0 : choices.below(phaseMs), () => cluster.append(log, records));
      }
    }
  }
}

/** @returns whether every fault has begun and ended */
function planFaults(world: World, phaseMs: number): () => boolean {
  const { choices, time, trace, counters } = world;
  let left = choices.one([0, 1, 2, 4, 8, 12]);
  const healed = () => left === 0;
  for (let n = left; n > 0; n--) {
    const name = choices.one(FAULT_NAMES);
    const ms = choices.one(DURATIONS) * (0.5 + choices.random());
    const atMs = 50 + choices.below(phaseMs);
    if (choices.once(2)) burst(world, atMs);
    time.after(atMs, () => {
      trace.note("fault", name);
      const end = FAULTS[name]!(world);
      counters.count(name);
      time.after(end === undefined ? 0 : ms, () => {
        left--;
        if (end === undefined) return;
        trace.note("fault", `${name}: ends`);
        end();
      });
    });
  }
  return healed;
}

/** Records come when a fault does, so that it meets a worker at work. */
function burst(world: World, atMs: number): void {
  const { cluster, choices } = world;
  for (let n = choices.below(6); n >= 0; n--) {
    world.appendAfter(atMs - 40 + choices.below(choices.one([50, 300, 3000])), () => {
      cluster.append(choices.one(cluster.logs()), world.records(1 + choices.below(6)));
    });
  }
}

/** One partition cannot be read: all others are consumed all the same. */
function withTroubleInOnePartition(world: World, phaseMs: number): void {
  const { choices, cluster, counters, time, trace } = world;
  const log = choices.one(cluster.logs());
  const others = cluster.logs().filter((other) => other !== log);
  let end: () => void = () => undefined;
  time.after(choices.once(2) ? 0 : choices.below(phaseMs), () => {
    const fault = choices.one(PARTITION_FAULT_NAMES);
    trace.note("fault", `${fault}, in ${log.topic}[${log.partition}] alone`);
    end = PARTITION_FAULTS[fault](world, log);
  });
  run(world, phaseMs, () => false);
  const untilMs = time.nowMs() + LIVENESS_OF_OTHERS_MS;
  const isDone = () => world.whatIsUnstored(others) === undefined;
  while (!isDone() && time.nowMs() < untilMs) run(world, CHECK_MS, () => false);
  const unstored = world.whatIsUnstored(others);
  if (unstored !== undefined) throw new Violated(`held up by ${log.topic}[${log.partition}]: ${unstored}`);
  counters.count("trouble in one partition");
  end();
}

function run(world: World, ms: number, isDone: () => boolean): void {
  const { time, violations } = world;
  time.runUntil(time.nowMs() + ms, () => violations.first !== undefined || isDone());
  violations.throwIfAny();
  for (const { consumer } of world.consumers) {
    const { failure } = consumer;
    // A drain in the middle of a fault may have to drop what was read, and says so.
    if (failure === undefined || failure.startsWith("what was read could not be committed")) continue;
    throw new Violated(`${consumer.process.name} has ended: ${failure}`);
  }
}

function heal(world: World): void {
  for (const running of world.consumers) world.continue(running);
  world.postgres.heal();
  if (world.alive().length === 0) world.startConsumer();
  world.trace.note("fault", "all have ended");
}

function expectWell(world: World): void {
  const { time } = world;
  const untilMs = time.nowMs() + LIVENESS_MS;
  for (;;) {
    const missing = world.whatIsMissing();
    if (missing === undefined) break;
    if (time.nowMs() >= untilMs) {
      throw new Violated(`${LIVENESS_MS / 1000} s after the last fault: ${missing}`);
    }
    run(world, CHECK_MS, () => false);
  }
  world.trace.note("all", "is consumed and well");
}

/** Nothing is left to do, so that a loop that goes on turning spins. */
function expectRest(world: World): void {
  // Answers to commits of offsets wake a worker.
  run(world, ANSWERS_MS, () => false);
  const before = world.alive().map(({ consumer }) => consumer.notifier.turns);
  run(world, REST_MS, () => false);
  for (const [index, { consumer }] of world.alive().entries()) {
    const turns = consumer.notifier.turns - before[index]!;
    if (turns > MAX_TURNS_AT_REST) {
      throw new Violated(
        `${consumer.process.name} takes ${turns} turns in ${REST_MS / 1000} s with nothing to do`,
      );
    }
  }
}

function drain(world: World): void {
  const running = world.running();
  for (const { consumer } of running) consumer.worker.drain();
  run(world, DRAIN_MS, () => running.every(({ consumer }) => consumer.hasEnded));
  for (const { consumer } of running) {
    if (!consumer.hasEnded)
      throw new Violated(`${consumer.process.name} does not drain within ${DRAIN_MS / 1000} s`);
    if (consumer.failure !== undefined)
      throw new Violated(`${consumer.process.name} does not drain: ${consumer.failure}`);
  }
}
