// Lists the faults of a history: what each does, and what ends it.

import type { PartitionLog } from "./kafka/partition-log.ts";
import type { World } from "./world.ts";

/** Does its harm at once. @returns what ends it; undefined where nothing has to, or there was nothing to harm */
export type Fault = (world: World) => (() => void) | undefined;

const TABLES = [
  "raw_events",
  "hourly_aggregations",
  "hourly_users",
  "pipeline_offsets",
  "dead_letter_events",
];

function somePid({ postgres, choices }: World): number | undefined {
  const pids = postgres.backendPids;
  return pids.length === 0 ? undefined : choices.one(pids);
}

function withSomePid(harm: (world: World, pid: number) => void): Fault {
  return (world) => {
    const pid = somePid(world);
    if (pid !== undefined) harm(world, pid);
    return undefined;
  };
}

function refusing(code: string): Fault {
  return ({ postgres }) => {
    postgres.refuseConnections(code);
    return () => postgres.start();
  };
}

/** What can happen to one partition. @returns what ends it */
export const PARTITION_FAULTS = {
  "kafka: leader away": (_world, log) => {
    log.hasLeader = false;
    return () => {
      log.hasLeader = true;
      log.changed();
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

const CONSUMER_FAULTS: Readonly<Record<string, Fault>> = {
  "consumer: killed": (world) => {
    const running = world.running();
    if (running.length > 0) world.kill(world.choices.one(running));
    return () => world.startConsumer();
  },
  "consumer: stopped": (world) => {
    const running = world.running();
    if (running.length === 0) return undefined;
    const stopped = world.choices.one(running);
    world.stop(stopped);
    return () => world.continue(stopped);
  },
  "consumer: joins": (world) => {
    if (world.alive().length < 4) world.startConsumer();
    return undefined;
  },
  "consumer: drains": (world) => {
    const running = world.running();
    if (running.length < 2) return undefined;
    const { consumer } = world.choices.one(running);
    world.trace.note(consumer.process.name, "is asked to drain");
    consumer.worker.drain();
    return () => world.startConsumer();
  },
};

const KAFKA_FAULTS: Readonly<Record<string, Fault>> = {
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
      for (const log of logs) log.hasLeader = true;
      for (const log of logs) log.changed();
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

const POSTGRES_FAULTS: Readonly<Record<string, Fault>> = {
  "database: crash": ({ postgres, choices }) => {
    postgres.crash({ lostTransactions: choices.below(6) });
    return () => postgres.start();
  },
  "database: restart": ({ postgres }) => {
    postgres.stop();
    return () => postgres.start();
  },
  "database: frozen": ({ postgres }) => {
    postgres.freeze();
    return () => postgres.thaw();
  },
  "database: too many connections": refusing("53300"),
  "database: starting up": refusing("57P03"),
  "database: password refused": (world) => {
    world.postgres.refuseConnections("28P01");
    for (const pid of world.postgres.backendPids) world.postgres.terminate(pid);
    return () => world.postgres.start();
  },
  "database: backend terminated": withSomePid(({ postgres }, pid) => postgres.terminate(pid)),
  "database: connection cut": withSomePid(({ postgres }, pid) => postgres.cut(pid)),
  "database: connection silent": withSomePid(({ postgres }, pid) => postgres.silence(pid)),
  "database: answer of COMMIT lost": ({ postgres, choices }) => {
    postgres.faults.loseCommitAnswer({
      isApplied: choices.once(2),
      connection: choices.once(4) ? "silent" : "closed",
    });
    return undefined;
  },
  "database: slow COMMIT": ({ postgres, choices }) => {
    postgres.faults.slowCommit(choices.one([500, 3000, 9000, 12_000]));
    return undefined;
  },
  "database: read-only": ({ postgres }) => {
    postgres.faults.isReadOnly = true;
    return () => (postgres.faults.isReadOnly = false);
  },
  "database: disk full": ({ postgres }) => {
    postgres.faults.isDiskFull = true;
    return () => (postgres.faults.isDiskFull = false);
  },
  "database: table altered": ({ postgres, choices }) => {
    const table = choices.one(TABLES);
    postgres.faults.schemaFaults.set(table, "42703");
    return () => postgres.faults.schemaFaults.delete(table);
  },
  "database: serialization failures": ({ postgres, choices }) => {
    postgres.faults.failStatements(choices.one(["40001", "40P01"]), 1 + choices.below(3));
    return undefined;
  },
  "database: timeouts": ({ postgres, choices }) => {
    postgres.faults.failStatements(choices.one(["55P03", "57014"]), 1 + choices.below(3));
    return undefined;
  },
  "database: slow network": ({ postgres }) => {
    postgres.setLatency(20, 200);
    return () => postgres.setLatency(0.1, 1.5);
  },
  "database: clock moved": ({ postgres, choices }) => {
    postgres.shiftClock((choices.below(3) - 1) * 3_600_000);
    return undefined;
  },
};

export const FAULTS: Readonly<Record<string, Fault>> = {
  ...CONSUMER_FAULTS,
  ...KAFKA_FAULTS,
  ...POSTGRES_FAULTS,
};

export const FAULT_NAMES: readonly string[] = Object.keys(FAULTS);
