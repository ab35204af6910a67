// Conducts one run: starts everything, breaks it round after round, compares, and reports what was wrong.
import { errorMessage } from "../../../shared/runtime/errors.ts";
import { SeededChoices } from "../../support/seeded-random.ts";
import { eventually } from "../../support/eventually.ts";
import { ChaosCluster } from "./cluster.ts";
import type { Fault } from "./fault.ts";
import { Flow } from "./flow.ts";
import { Journal } from "./journal.ts";
import { CONSUMERS, type FaultOutcome, runRound } from "./round.ts";
import { type Lane, Schedule } from "./schedule.ts";

/** A run has about so many comparisons between its rounds, but not more often than `LEAST_BETWEEN_MS`. */
const COMPARISONS = 12;
const LEAST_BETWEEN_MS = 10_000;
/** Rounds do not follow each other at once. */
const MOST_CALM_MS = 4000;
const FLOW_DEADLINE_MS = 60_000;
const HOUR_MS = 3_600_000;

export interface RunOptions {
  readonly seed: number;
  /** How long faults are injected. */
  readonly seconds: number;
  /** Records per second. */
  readonly rate: number;
  readonly faults: readonly Fault[];
  readonly say: (line: string) => void;
  /** Asked between the rounds: true ends the run early. */
  readonly isStopped: () => boolean;
}

export interface RunReport {
  readonly outcomes: readonly FaultOutcome[];
  /** What was wrong, one sentence each. */
  readonly problems: readonly string[];
  /** Faults that cannot be injected on this machine, and why. */
  readonly leftOut: readonly string[];
  readonly comparisons: number;
  /** The most events that a comparison missed in the tables, and found too much. */
  readonly lost: number;
  readonly doubled: number;
  readonly consumed: number;
  readonly acknowledged: number;
  /** Acknowledged records that faults of Kafka itself have cut from its logs. */
  readonly cut: number;
  readonly seconds: number;
  readonly outputs: ReadonlyMap<string, string>;
}

/** @throws Error when the servers or the programs do not even start */
export async function conduct(options: RunOptions): Promise<RunReport> {
  const { seed, seconds, rate, say } = options;
  const baseHour = Math.floor(Date.now() / HOUR_MS);
  await using cluster = await ChaosCluster.start({ rate, baseHour, say });
  const journal = new Journal(cluster, baseHour);
  const choices = new SeededChoices(seed);
  const reasons = options.faults.map((fault) => ({ fault, reason: fault.whyNot?.(cluster) }));
  const faults = reasons.flatMap(({ fault, reason }) => (reason === undefined ? [fault] : []));
  const leftOut = reasons.flatMap(({ fault, reason }) =>
    reason === undefined ? [] : [`${fault.name}: ${reason}`],
  );
  const schedule = new Schedule(faults, choices);
  cluster.load.start();
  await cluster.fleet.scaleTo(CONSUMERS);
  await using flow = new Flow(cluster);
  const start = flow.mark();
  await eventually("the flow has begun", () => flow.hasMovedSince(start), { timeoutMs: FLOW_DEADLINE_MS });

  const outcomes: FaultOutcome[] = [];
  const problems: string[] = [];
  let comparisons = 0;
  const worst = { lost: 0, doubled: 0 };
  const startedAt = performance.now();
  const passedMs = () => performance.now() - startedAt;
  const compare = async (when: string) => {
    const { problems: found, consumed, lost, doubled } = await journal.compare();
    comparisons++;
    worst.lost = Math.max(worst.lost, lost);
    worst.doubled = Math.max(worst.doubled, doubled);
    problems.push(...found.map((problem) => `${when}: ${problem}`));
    say(
      found.length === 0
        ? `  ${when}: the tables are those of the fold, ${consumed} records`
        : `  ${when}: ${found.join("; ")}`,
    );
  };
  let comparedAtMs = 0;
  const betweenMs = Math.max(LEAST_BETWEEN_MS, (seconds * 1000) / COMPARISONS);
  try {
    while (!options.isStopped()) {
      // At least one round, also where each fault takes longer than the time given.
      const lanes = schedule.next(outcomes.length === 0 ? Infinity : seconds - passedMs() / 1000);
      if (lanes.length === 0) break;
      say(`${clock(passedMs())} ${lanes.map(describe).join(" + ")}`);
      const found = await runRound(lanes, { cluster, journal, flow, say });
      outcomes.push(...found);
      problems.push(...found.flatMap((outcome) => outcome.problems));
      if (found.some((outcome) => outcome.problems.length > 0)) break;
      await cluster.fleet.scaleTo(CONSUMERS);
      if (passedMs() - comparedAtMs > betweenMs) {
        comparedAtMs = passedMs();
        await compare(`moment ${comparisons + 1}`);
      }
      if (problems.length > 0) break;
      await Bun.sleep(choices.below(MOST_CALM_MS));
    }
    say("the faults are over: draining");
    await cluster.load.stop();
    await journal.drained();
    await compare("at the end");
  } catch (error) {
    problems.push(errorMessage(error));
  }
  const verified = await journal.verifyLogs().catch((error: unknown) => ({
    problems: [`the logs could not be read again: ${errorMessage(error)}`],
    acknowledged: 0,
    cut: 0,
  }));
  problems.push(...verified.problems, ...cluster.fleet.unexpectedEnds, ...(await endFleet(cluster)));
  return {
    outcomes,
    ...worst,
    problems,
    leftOut,
    comparisons,
    consumed: flow.consumed,
    acknowledged: verified.acknowledged,
    cut: verified.cut,
    seconds: passedMs() / 1000,
    outputs: cluster.fleet.outputs(),
  };
}

/** Drains the consumers, which must all be ready. @returns what was wrong */
async function endFleet({ fleet }: ChaosCluster): Promise<string[]> {
  const ends = fleet.running.map(async (consumer) => {
    const problems = await eventually("it is ready", async () => (await consumer.problems()) === "", {
      timeoutMs: FLOW_DEADLINE_MS,
    }).then(
      () => [],
      async () => [`${consumer.name} is not ready: ${await consumer.problems().catch(errorMessage)}`],
    );
    const code = await fleet.end(consumer, "SIGTERM").catch(errorMessage);
    return code === 0 ? problems : [...problems, `${consumer.name} did not drain: it ended with ${code}`];
  });
  return (await Promise.all(ends)).flat();
}

/** `a, b` */
function describe(lane: Lane): string {
  return lane.map(({ fault }) => fault.name).join(", ");
}

/** `  12 s` */
function clock(ms: number): string {
  return `${String(Math.round(ms / 1000)).padStart(4)} s`;
}
