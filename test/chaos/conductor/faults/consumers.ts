// Faults of the consumer processes: asked to end, killed, stopped, scaled.
import type { Fault, FaultContext, Injected } from "../fault.ts";
import { type ChaosCluster, RECOVERY_SETTINGS } from "../cluster.ts";
import type { FleetConsumer } from "../fleet.ts";

const SESSION_MS = Number(RECOVERY_SETTINGS.KAFKA_CONFIG_SESSION_TIMEOUT_MS);
const MAX_POLL_MS = Number(RECOVERY_SETTINGS.KAFKA_CONFIG_MAX_POLL_INTERVAL_MS);
const BY_SESSION = `session.timeout.ms ${SESSION_MS}`;
const UNCOMMITTED = /what was read could not be committed/;
const BY_HEARTBEAT = `heartbeat.interval.ms ${RECOVERY_SETTINGS.KAFKA_CONFIG_HEARTBEAT_INTERVAL_MS}`;

/** One that owns partitions, as all of them do. */
async function victimOf({ cluster: { fleet }, choices }: FaultContext): Promise<FleetConsumer> {
  await fleet.allOwnPartitions();
  return choices.one(fleet.running);
}

/** Drains a consumer. @returns its exit code: 0, or 1 where it says that a fault kept it from committing its last batch */
async function drain({ fleet }: ChaosCluster, consumer: FleetConsumer): Promise<number> {
  const code = await fleet.end(consumer, "SIGTERM");
  const hasSaidSo = UNCOMMITTED.test(consumer.program.output);
  if (code !== 0 && !(code === 1 && hasSaidSo)) {
    throw new Error(`${consumer.name} ended with ${code} after SIGTERM`);
  }
  return code;
}

/** Ends one consumer and starts another one. */
async function replace(context: FaultContext, signal: "SIGTERM" | "SIGKILL"): Promise<Injected> {
  const { fleet } = context.cluster;
  const victim = await victimOf(context);
  const code = await (signal === "SIGTERM" ? drain(context.cluster, victim) : fleet.end(victim, signal));
  return {
    holdMs: context.choices.below(3000),
    hasBitten: async () => `${victim.name} ended with ${code}`,
    heal: async () => {
      fleet.start();
    },
  };
}

/** Stops a consumer until the others have its partitions. */
async function stop(context: FaultContext, stoppedMs: number): Promise<Injected> {
  const { fleet } = context.cluster;
  const victim = await victimOf(context);
  await victim.scrape();
  const before = othersAssigned(fleet.running, victim);
  victim.program.signal("SIGSTOP");
  return {
    holdMs: stoppedMs,
    hasBitten: async () => {
      const now = othersAssigned(fleet.running, victim);
      return now > before ? `the others own ${now} partitions, ${before} before` : undefined;
    },
    heal: async () => {
      victim.program.signal("SIGCONT");
    },
  };
}

function othersAssigned(running: readonly FleetConsumer[], victim: FleetConsumer): number {
  return running
    .filter((consumer) => consumer !== victim)
    .reduce((sum, consumer) => sum + consumer.value("consumer_assigned_partitions"), 0);
}

export const CONSUMER_FAULTS: readonly Fault[] = [
  {
    name: "consumer-sigterm",
    about: "a consumer drains, and another one starts",
    parts: ["consumers"],
    ruledBy: BY_HEARTBEAT,
    seconds: 6,
    inject: (context) => replace(context, "SIGTERM"),
  },
  {
    name: "consumer-sigkill",
    about: "a consumer is killed, and another one starts",
    parts: ["consumers"],
    ruledBy: BY_SESSION,
    seconds: 10,
    inject: (context) => replace(context, "SIGKILL"),
  },
  {
    name: "consumer-stopped-session",
    about: "a consumer is stopped (SIGSTOP) beyond session.timeout.ms, and continued",
    parts: ["consumers"],
    ruledBy: BY_HEARTBEAT,
    seconds: 14,
    inject: (context) => stop(context, SESSION_MS + 2000),
  },
  {
    name: "consumer-stopped-poll",
    about: "a consumer is stopped (SIGSTOP) beyond max.poll.interval.ms, and continued",
    parts: ["consumers"],
    ruledBy: BY_HEARTBEAT,
    seconds: 18,
    inject: (context) => stop(context, MAX_POLL_MS + 2000),
  },
  {
    name: "consumers-1-4-1",
    about: "the consumers become four, then one",
    parts: ["consumers"],
    ruledBy: BY_HEARTBEAT,
    seconds: 20,
    inject: async ({ cluster: { fleet } }) => {
      const before = fleet.total("rebalances_total");
      await fleet.scaleTo(1);
      await fleet.scaleTo(4);
      return {
        holdMs: 4000,
        hasBitten: async () => {
          const owning = fleet.running.filter((one) => one.value("consumer_assigned_partitions") > 0).length;
          const moved = fleet.total("rebalances_total") - before;
          return owning === 4 ? `4 processes own partitions, ${moved} rebalances` : undefined;
        },
        heal: () => fleet.scaleTo(1),
      };
    },
  },
  {
    name: "consumers-rolling-restart",
    about: "each consumer in turn drains and is replaced",
    parts: ["consumers"],
    ruledBy: BY_HEARTBEAT,
    seconds: 10,
    inject: async ({ cluster }) => {
      const codes: number[] = [];
      for (const consumer of cluster.fleet.running) {
        codes.push(await drain(cluster, consumer));
        cluster.fleet.start();
        await Bun.sleep(1000);
      }
      return {
        holdMs: 0,
        hasBitten: async () => `${codes.length} consumers ended with ${codes.join(", ")}`,
        heal: async () => {},
      };
    },
  },
  breakThread("crash", "a worker thread throws", 10),
  breakThread("hang", "a worker thread loops for ever", 40),
];

/** The process of the thread drains its other threads and ends with 1; then it is started again, as by a supervisor. */
function breakThread(order: "crash" | "hang", what: string, seconds: number): Fault {
  return {
    name: `consumer-thread-${order}`,
    about: `${what}: its process ends with 1, and is started again`,
    parts: ["consumers"],
    ruledBy: BY_SESSION,
    seconds,
    inject: async (context) => {
      const victim = await victimOf(context);
      victim.mayEnd = true;
      victim.sabotage(order);
      return {
        holdMs: 0,
        hasBitten: async () => {
          if (victim.program.running) return undefined;
          const code = await victim.program.exit();
          const reason = /"msg":"(worker \d+ [^"]*)/.exec(victim.program.output)?.[1];
          return `${victim.name} ended with ${code}: ${reason}`;
        },
        heal: async () => {
          context.cluster.fleet.start();
        },
      };
    },
  };
}
