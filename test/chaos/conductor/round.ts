// Runs one or more faults at the same time: injects, proves that each has bitten, heals, and measures the recovery.
import { errorMessage } from "../../../shared/runtime/errors.ts";
import type { Fault, FaultContext, Injected } from "./fault.ts";
import type { Flow } from "./flow.ts";

/** From a fault's end until the flow has gone on, at most. */
export const RECOVERY_LIMIT_MS = 30_000;
const POLL_MS = 50;
/** A fault that has not reached its victim by then counts as one that did not bite. */
const BITE_DEADLINE_MS = 45_000;
/** Later, waiting for the flow makes no sense. */
const GIVE_UP_MS = 90_000;
const MAX_START_DELAY_MS = 3000;

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
}

/** @returns the outcome of each fault, in their order */
export async function runRound(
  faults: readonly Fault[],
  context: FaultContext,
  flow: Flow,
  say: (line: string) => void,
): Promise<FaultOutcome[]> {
  const activity = new Activity();
  // Drawn before anything runs, so that the choices do not depend on timing.
  const delays = faults.map((_, index) => (index === 0 ? 0 : context.choices.below(MAX_START_DELAY_MS)));
  const work = faults.map(async (fault, index) => {
    await Bun.sleep(delays[index]!);
    return runFault(fault, context, flow, activity, say);
  });
  return Promise.all(work);
}

async function runFault(
  fault: Fault,
  context: FaultContext,
  flow: Flow,
  activity: Activity,
  say: (line: string) => void,
): Promise<FaultOutcome> {
  const { fleet } = context.cluster;
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
    const injected = await fault.inject(context);
    steps.push(performance.now());
    try {
      evidence = await hold(injected);
    } finally {
      steps.push(performance.now());
      await injected.heal();
      steps.push(performance.now());
    }
    activity.end();
    isHealed = true;
    const mark = flow.mark();
    const bite = evidence === undefined ? untilBitten(injected, BITE_DEADLINE_MS) : Promise.resolve(evidence);
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
    if (!isHealed) activity.end();
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

/** Waits until the fault has bitten and its time is over. */
async function hold(injected: Injected): Promise<string | undefined> {
  const until = performance.now() + injected.holdMs;
  const evidence = await untilBitten(injected, injected.bitesAfterwards ? injected.holdMs : BITE_DEADLINE_MS);
  await Bun.sleep(Math.max(0, until - performance.now()));
  // What it says has grown meanwhile.
  return evidence && ((await injected.hasBitten().catch(() => undefined)) || evidence);
}

async function untilBitten({ hasBitten }: Injected, deadlineMs: number): Promise<string | undefined> {
  const deadline = performance.now() + deadlineMs;
  do {
    const evidence = await hasBitten().catch(() => undefined);
    if (evidence) return evidence;
    await Bun.sleep(POLL_MS);
  } while (performance.now() < deadline);
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
