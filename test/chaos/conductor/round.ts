// Runs the faults of a round: injects, proves that each has bitten, heals, and measures the recovery.
import { errorMessage } from "../../../shared/runtime/errors.ts";
import { classify, type FaultKind } from "../../../shared/store/sqlstate.ts";
import { SeededChoices } from "../../support/seeded-random.ts";
import type { ChaosCluster } from "./cluster.ts";
import type { Fault, Injected } from "./fault.ts";
import type { Flow } from "./flow.ts";
import type { Journal } from "./journal.ts";
import type { Lane, PlannedFault } from "./schedule.ts";

/** So many consumers run while no fault changes that. */
export const CONSUMERS = 2;

/** From a fault's end until the flow has gone on, at most. */
export const RECOVERY_LIMIT_MS = 30_000;
const POLL_MS = 50;
/**
 * A fault that has not reached its victim by then counts as one that did not bite. Time in which another fault is at
 * work does not count, because that one may keep it from its victim, but there is an end to it.
 */
const BITE_DEADLINE_MS = 45_000;
const BITE_GIVE_UP_MS = 180_000;
/** The conductor's own statements wait so long for a server that another fault keeps from answering. */
const STATEMENT_DEADLINE_MS = 120_000;
const PASSING: ReadonlySet<string> = new Set<FaultKind>(["connection", "transient", "blocked"]);
/** Later, waiting for the flow makes no sense. */
const GIVE_UP_MS = 90_000;

/** What one fault did. */
export interface FaultOutcome {
  readonly fault: Fault;
  /** In words; undefined where it did not bite. */
  readonly evidence: string | undefined;
  /** The most acknowledged records that were not stored, from its injection to the recovery. */
  readonly inFlight: number;
  /** Records that were read again from its injection to the recovery. */
  readonly redelivered: number;
  /** Batches that the fence refused, from its injection to the recovery. */
  readonly fenced: number;
  /** Other resyncs, `cause × times`. */
  readonly resyncs: string;
  /** From its end until the flow went on; time in which another fault was at work does not count. */
  readonly recoveryMs: number;
  readonly problems: readonly string[];
}

/** The faults that are at work. */
class Activity {
  #active = 0;
  begin(): void {
    this.#active++;
  }
  end(): void {
    this.#active--;
  }
  get isQuiet(): boolean {
    return this.#active === 0;
  }
  /** True where one that is at work is the only one. */
  get isAlone(): boolean {
    return this.#active <= 1;
  }
}

/** What a round breaks and watches. */
export interface RoundSurroundings {
  readonly cluster: ChaosCluster;
  readonly journal: Journal;
  readonly flow: Flow;
  readonly say: (line: string) => void;
}

/** @returns the outcomes of all faults */
export async function runRound(
  lanes: readonly Lane[],
  surroundings: RoundSurroundings,
): Promise<FaultOutcome[]> {
  const activity = new Activity();
  const { fleet } = surroundings.cluster;
  const running = lanes.map(async (lane) => {
    const outcomes: Promise<FaultOutcome>[] = [];
    for (const planned of lane) {
      await Bun.sleep(planned.delayMs);
      // The fault before it may have left consumers that are not at work yet; one that finds none reports that itself.
      await fleet.allOwnPartitions().catch(() => undefined);
      if (planned.fault.parts.some((part) => part === "postgres" || part === "network")) {
        await fleet.allHaveSessions().catch(() => undefined);
      }
      const healed = Promise.withResolvers<void>();
      outcomes.push(runFault(planned, surroundings, activity, healed.resolve));
      // The next one does not wait for the recovery.
      await healed.promise;
      if (planned.fault.parts.includes("consumers")) await fleet.scaleTo(CONSUMERS);
    }
    return Promise.all(outcomes);
  });
  return (await Promise.all(running)).flat();
}

async function runFault(
  { fault, seed }: PlannedFault,
  { cluster, journal, flow, say }: RoundSurroundings,
  activity: Activity,
  onHealed: () => void,
): Promise<FaultOutcome> {
  const { fleet } = cluster;
  const problems: string[] = [];
  await fleet.scrape();
  const before = {
    fetched: fleet.total("records_fetched_total"),
    consumed: flow.consumed,
    resyncs: fleet.resyncs(),
  };
  let inFlight = flow.lag();
  const watching = setInterval(() => (inFlight = Math.max(inFlight, flow.lag())), POLL_MS);
  let evidence: string | undefined;
  let recoveryMs = 0;
  activity.begin();
  say(`  ${fault.name}`);
  let isHealed = false;
  const steps = [performance.now()];
  try {
    const injected = await patiently(() =>
      fault.inject({ cluster, journal, choices: new SeededChoices(seed) }),
    );
    steps.push(performance.now());
    try {
      evidence = await hold(injected, activity);
    } finally {
      steps.push(performance.now());
      await patiently(() => injected.heal());
      steps.push(performance.now());
    }
    activity.end();
    isHealed = true;
    onHealed();
    const mark = flow.mark();
    const bite =
      evidence === undefined ? untilBitten(injected, () => activity.isQuiet) : Promise.resolve(evidence);
    recoveryMs = await recovery(activity, () => flow.hasMovedSince(mark));
    if (recoveryMs > RECOVERY_LIMIT_MS) {
      problems.push(
        `${fault.name}: the flow had not gone on ${Math.round(recoveryMs / 1000)} s after the fault; stuck: ${flow.stuckSince(mark).join(", ") || "none now"}`,
      );
    }
    evidence = await bite;
    if (evidence === undefined)
      problems.push(`${fault.name} did not bite: there is no evidence that it reached its victim`);
  } catch (error) {
    problems.push(`${fault.name}: ${errorMessage(error)}`);
  } finally {
    for (const problem of problems) say(`  ${problem}`);
    if (!isHealed) activity.end();
    onHealed();
    clearInterval(watching);
  }
  await fleet.scrape();
  const resyncs = difference(before.resyncs, fleet.resyncs());
  const redelivered =
    fleet.total("records_fetched_total") - before.fetched - (flow.consumed - before.consumed);
  say(
    `  ${fault.name}: ${evidence ?? "no evidence"}; injected, held, healed, flow after ${secondsOf(steps, recoveryMs)} s, at most ${inFlight} behind`,
  );
  return {
    fault,
    evidence,
    inFlight,
    redelivered: Math.max(0, redelivered),
    fenced: resyncs.get("fence") ?? 0,
    resyncs: [...resyncs].map(([cause, times]) => `${cause} × ${times}`).join(", "),
    recoveryMs,
    problems,
  };
}

/** `0.1, 5.0, 3.2, 0.4` */
function secondsOf(steps: readonly number[], recoveryMs: number): string {
  const took = steps.slice(1).map((at, index) => at - steps[index]!);
  return [...took, recoveryMs].map((ms) => (ms / 1000).toFixed(1)).join(", ");
}

/** Repeats work that fails because of another fault of PostgreSQL. All that faults do there may be done twice. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + STATEMENT_DEADLINE_MS;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!PASSING.has(classify(error)) || performance.now() > deadline) throw error;
      await Bun.sleep(POLL_MS);
    }
  }
}

/** Waits until the fault has bitten and its time is over. */
async function hold(injected: Injected, activity: Activity): Promise<string | undefined> {
  const until = performance.now() + injected.holdMs;
  const evidence = injected.bitesAfterwards ? undefined : await untilBitten(injected, () => activity.isAlone);
  await Bun.sleep(Math.max(0, until - performance.now()));
  if (injected.bitesAfterwards) return injected.hasBitten().catch(() => undefined);
  // What it says has grown meanwhile.
  return evidence && ((await injected.hasBitten().catch(() => undefined)) || evidence);
}

/** @param isUndisturbed true while no other fault may keep it from its victim */
async function untilBitten(
  { hasBitten }: Injected,
  isUndisturbed: () => boolean,
): Promise<string | undefined> {
  const startedAt = performance.now();
  let [aloneMs, last] = [0, startedAt];
  do {
    const evidence = await hasBitten().catch(() => undefined);
    if (evidence) return evidence;
    await Bun.sleep(POLL_MS);
    const now = performance.now();
    if (isUndisturbed()) aloneMs += now - last;
    last = now;
  } while (aloneMs < BITE_DEADLINE_MS && last - startedAt < BITE_GIVE_UP_MS);
  return undefined;
}

/** @returns ms until the condition held, without the time in which a fault was at work */
async function recovery(activity: Activity, hasRecovered: () => boolean): Promise<number> {
  let quietMs = 0;
  let last = performance.now();
  while (!hasRecovered() && quietMs < GIVE_UP_MS) {
    await Bun.sleep(POLL_MS);
    const now = performance.now();
    if (activity.isQuiet) quietMs += now - last;
    last = now;
  }
  return quietMs;
}

function difference(
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
): Map<string, number> {
  const changed = [...after].map(([cause, times]) => [cause, times - (before.get(cause) ?? 0)] as const);
  return new Map(changed.filter(([, times]) => times > 0));
}
