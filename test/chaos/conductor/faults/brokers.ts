// Faults of the brokers: killed by their role, restarted in turn, all away.
import { type ChaosCluster, MAIN_TOPIC } from "../cluster.ts";
import { brokerIndex } from "../kafka-inquiry.ts";
import type { Fault, FaultContext, Injected } from "../fault.ts";

const BROKERS = [0, 1, 2] as const;
/** Brokers of a run notice a dead one after this time. */
const BY_BROKER_SESSION = "broker.session.timeout.ms 3000";
const BY_RECONNECT = "reconnect.backoff.max.ms 1000";

/** Kills a broker and starts it again. @param who names its role in the evidence */
async function killOne(
  { cluster, choices }: FaultContext,
  who: string,
  find: (cluster: ChaosCluster) => Promise<number>,
): Promise<Injected> {
  await cluster.inquiry.allInSync();
  const index = await find(cluster);
  const pid = cluster.kafka.pids[index];
  const errors = cluster.fleet.total("kafka_consume_errors_total");
  await cluster.kafka.kill(index, "SIGKILL");
  const forbidFailedStarts = cluster.fleet.allowFailedStarts();
  return {
    holdMs: 3000 + choices.below(5000),
    hasBitten: async () => {
      const seen = cluster.fleet.total("kafka_consume_errors_total") - errors;
      return seen > 0
        ? `broker ${index + 1}, ${who}, process ${pid}, is gone; ${seen} errors at the consumers`
        : undefined;
    },
    heal: async () => {
      await cluster.kafka.restart(index);
      forbidFailedStarts();
    },
  };
}

async function leader(cluster: ChaosCluster, choice: number): Promise<number> {
  const places = await cluster.inquiry.places([MAIN_TOPIC]);
  return brokerIndex(places[choice % places.length]?.leader);
}

export const BROKER_FAULTS: readonly Fault[] = [
  {
    name: "broker-leader-kill",
    about: "the broker that leads a partition is killed, and comes back",
    parts: ["brokers", "edge topic"],
    ruledBy: BY_BROKER_SESSION,
    seconds: 14,
    inject: (context) => {
      const choice = context.choices.below(100);
      return killOne(context, "a leader", (cluster) => leader(cluster, choice));
    },
  },
  {
    name: "broker-coordinator-kill",
    about: "the broker that coordinates the group is killed, and comes back",
    parts: ["brokers", "edge topic"],
    ruledBy: BY_BROKER_SESSION,
    seconds: 14,
    inject: (context) => killOne(context, "the coordinator", (cluster) => cluster.inquiry.coordinator()),
  },
  {
    name: "broker-controller-kill",
    about: "the active controller is killed, and comes back",
    parts: ["brokers", "edge topic"],
    ruledBy: BY_BROKER_SESSION,
    seconds: 16,
    inject: (context) => killOne(context, "the controller", (cluster) => cluster.inquiry.controller()),
  },
  {
    name: "brokers-rolling-restart",
    about: "each broker in turn ends in order and comes back",
    parts: ["brokers", "edge topic"],
    ruledBy: BY_RECONNECT,
    seconds: 50,
    inject: async ({ cluster }) => {
      const before = cluster.kafka.pids;
      const forbidFailedStarts = cluster.fleet.allowFailedStarts();
      for (const index of BROKERS) {
        await cluster.inquiry.allInSync();
        await cluster.kafka.kill(index, "SIGTERM");
        await cluster.kafka.restart(index);
      }
      const after = cluster.kafka.pids;
      return {
        holdMs: 0,
        hasBitten: async () =>
          after.every((pid, index) => pid !== before[index])
            ? `processes ${before.join(", ")} are replaced`
            : undefined,
        heal: async () => {
          forbidFailedStarts();
        },
      };
    },
  },
  {
    name: "brokers-all-away",
    about: "all brokers are killed, and come back",
    parts: ["brokers", "edge topic"],
    ruledBy: BY_RECONNECT,
    seconds: 20,
    inject: async ({ cluster, choices }) => {
      await cluster.inquiry.allInSync();
      const { pids } = cluster.kafka;
      const errors = cluster.fleet.total("kafka_consume_errors_total");
      const forbidFailedStarts = cluster.fleet.allowFailedStarts();
      await Promise.all(BROKERS.map((index) => cluster.kafka.kill(index, "SIGKILL")));
      return {
        holdMs: 3000 + choices.below(6000),
        hasBitten: async () => {
          const seen = cluster.fleet.total("kafka_consume_errors_total") - errors;
          return seen > 0
            ? `processes ${pids.join(", ")} are gone; ${seen} errors at the consumers`
            : undefined;
        },
        heal: async () => {
          // Together: one alone has no majority of controllers.
          await Promise.all(BROKERS.map((index) => cluster.kafka.restart(index)));
          forbidFailedStarts();
        },
      };
    },
  },
];
