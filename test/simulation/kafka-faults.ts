// Lists the faults of Kafka: what each does, and what ends it.

import type { Fault } from "./fault.ts";
import type { PartitionLog } from "./kafka/partition-log.ts";
import type { World } from "./world.ts";

/** A replica becomes the leader of a partition that had none. */
function lead(log: PartitionLog): void {
  log.hasLeader = true;
  log.electLeader();
  log.changed();
}

/** Where a log may be cut: often a little before its end, which is being read. */
function cutPoint({ choices }: World, { beginning, end }: PartitionLog): number {
  const length = end - beginning;
  return end - (choices.once(2) ? choices.below(Math.min(length, 6) + 1) : choices.below(length + 1));
}

/** The next leader lacks more, while the first cut is being found out. */
function cutAgain(world: World, log: PartitionLog): void {
  const { time, choices, cluster, trace } = world;
  time.after(choices.below(choices.one([20, 500, 5000])), () => {
    const from = cutPoint(world, log);
    trace.note("fault", `${log.topic}[${log.partition}] is cut again at ${from}`);
    log.cut(from);
    if (choices.once(2)) cluster.append(log, world.records(choices.below(12)));
    log.changed();
  });
}

/** Rewinds a log to where it was rewritten, mostly before a worker has noticed the cut. */
function rewindAboveCut(world: World, { topic, partition }: PartitionLog, cut: number): void {
  const { choices, cluster, saveRawEvents } = world;
  const at = cut + 1 + choices.below(6);
  if (saveRawEvents) void world.rewind([{ topic, topicId: cluster.topic(topic)!.id, partition, at }]);
}

/** What can happen to one partition. @returns what ends it */
export const PARTITION_FAULTS = {
  "kafka: leader away": (_world, log) => {
    log.hasLeader = false;
    return () => lead(log);
  },
  "kafka: log cut": (world, log) => {
    const { choices } = world;
    const from = cutPoint(world, log);
    log.cut(from);
    world.trace.note("fault", `${log.topic}[${log.partition}] is cut at ${from}`);
    const grow = (): void => world.cluster.append(log, world.records(choices.below(12)));
    if (choices.once(2)) grow();
    if (choices.once(3)) cutAgain(world, log);
    if (choices.once(4)) rewindAboveCut(world, log, from);
    // The leader may have been away for long, or be there at once.
    log.hasLeader = choices.once(2);
    log.changed();
    return () => {
      if (!log.hasLeader) lead(log);
      grow();
    };
  },
  "kafka: retention": ({ choices }, log) => {
    log.beginning += choices.below(log.stableEnd - log.beginning + 1);
    return () => undefined;
  },
  "kafka: unreadable batch": ({ choices }, log) => {
    const batches = log.entries.filter(
      ({ offset, record }) => record !== undefined && offset >= log.beginning,
    );
    if (batches.length > 0) log.unreadableOffset = choices.one(batches).offset;
    return () => {
      log.unreadableOffset = undefined;
      log.changed();
    };
  },
  "kafka: open transaction": (_world, log) => {
    log.openTransactionFrom = log.end;
    return () => {
      log.openTransactionFrom = undefined;
      log.changed();
    };
  },
} satisfies Readonly<Record<string, (world: World, log: PartitionLog) => () => void>>;

type PartitionFault = keyof typeof PARTITION_FAULTS;

export const PARTITION_FAULT_NAMES = Object.keys(PARTITION_FAULTS) as PartitionFault[];

function inSomeLog(name: PartitionFault): Fault {
  return (world) => PARTITION_FAULTS[name](world, world.choices.one(world.cluster.logs()));
}

export const KAFKA_FAULTS: Readonly<Record<string, Fault>> = {
  "kafka: member evicted": (world) => {
    const running = world.running();
    if (running.length > 0) world.group.evict(world.choices.one(running).member);
    return undefined;
  },
  "kafka: leader away": inSomeLog("kafka: leader away"),
  "kafka: all leaders away": ({ cluster }) => {
    const logs = cluster.logs();
    for (const log of logs) log.hasLeader = false;
    return () => {
      for (const log of logs) lead(log);
    };
  },
  "kafka: slow answers": ({ cluster }) => {
    cluster.answers = "slow";
    return () => (cluster.answers = "prompt");
  },
  "kafka: no answers": ({ cluster }) => {
    cluster.answers = "silent";
    return () => (cluster.answers = "prompt");
  },
  "kafka: log cut": inSomeLog("kafka: log cut"),
  "kafka: log restored": (world) => {
    const { cluster, choices, trace } = world;
    const log = choices.one(cluster.logs());
    log.restore(cutPoint(world, log));
    trace.note("fault", `${log.topic}[${log.partition}] is put back to ${log.end}`);
    log.changed();
    return () => cluster.append(log, world.records(choices.below(12)));
  },
  "kafka: leader elected": ({ cluster, choices }) => {
    lead(choices.one(cluster.logs()));
    return undefined;
  },
  "kafka: retention": inSomeLog("kafka: retention"),
  "kafka: unreadable batch": inSomeLog("kafka: unreadable batch"),
  "kafka: open transaction": inSomeLog("kafka: open transaction"),
  "kafka: topic created again": (world) => {
    const { cluster, choices } = world;
    const name = choices.one(cluster.names);
    const { logs } = cluster.createTopic(
      name,
      cluster.topic(name)!.logs.map(() => 0),
    );
    return () => {
      for (const log of logs) cluster.append(log, world.records(choices.below(8)));
    };
  },
  "kafka: partition added": (world) => {
    const { cluster, choices } = world;
    const name = choices.one(cluster.names);
    if (cluster.topic(name)!.logs.length > 4) return undefined;
    const log = cluster.addPartition(name);
    return () => cluster.append(log, world.records(choices.below(8)));
  },
  "kafka: commit refused": (world) => {
    const running = world.running();
    if (running.length > 0) world.choices.one(running).member.refuseNextCommit();
    return undefined;
  },
  "kafka: record delivered again": (world) => {
    const running = world.running();
    if (running.length > 0) world.choices.one(running).member.repeatNextRecord();
    return undefined;
  },
  "kafka: error": (world) => {
    const message = "1/1 brokers are down";
    for (const { member } of world.running()) {
      member.report({ kind: "error", code: -187, name: "_ALL_BROKERS_DOWN", message, fatal: false });
    }
    return undefined;
  },
};
