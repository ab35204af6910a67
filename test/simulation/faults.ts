// Lists the faults of a history: what each does, and what ends it.

import { HOUR_MS } from "../../shared/pipeline/aggregate.ts";
import type { Fault } from "./fault.ts";
import { KAFKA_FAULTS } from "./kafka-faults.ts";
import type { ProcessClock } from "./process-clock.ts";
import { prune } from "./prune.ts";
import type { World } from "./world.ts";

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

function ofSomeClock(harm: (clock: ProcessClock, world: World) => ReturnType<Fault>): Fault {
  return (world) => {
    const running = world.running();
    return running.length === 0 ? undefined : harm(world.choices.one(running).consumer.clock, world);
  };
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
  // No timeout of PostgreSQL reaches a backend that waits for the data of a COPY.
  "consumer: stopped in a COPY": (world) => {
    const running = world.running();
    if (running.length === 0) return undefined;
    const stopped = world.choices.one(running);
    const { client } = stopped;
    client.onCopy = () => {
      client.onCopy = undefined;
      world.stop(stopped);
    };
    return () => {
      client.onCopy = undefined;
      world.continue(stopped);
    };
  },
  "consumer: joins": (world) => {
    if (world.alive().length < 4) world.startConsumer();
    return undefined;
  },
  "consumer: joins again": (world) => {
    const running = world.running();
    if (running.length > 0) world.choices.one(running).consumer.worker.rejoin();
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
  "consumer: clock moved": ofSomeClock((clock, { choices }) => {
    const ms = choices.one([-1, 1]) * HOUR_MS;
    clock.move(ms);
    return () => clock.move(-ms);
  }),
  "consumer: clock stands still": ofSomeClock((clock) => {
    clock.stop();
    return () => clock.continue();
  }),
  "consumer: monotonic clock goes back": ofSomeClock((clock, { choices }) => {
    clock.stepBack(choices.one([1, 40]));
    return undefined;
  }),
};

const POSTGRES_FAULTS: Readonly<Record<string, Fault>> = {
  "database: crash": ({ postgres, choices }) => {
    postgres.crash({ lostTransactions: choices.below(6) });
    return () => postgres.start();
  },
  "database: failover behind a proxy": (world) => {
    world.postgres.failOver({ lostTransactions: world.choices.below(6) });
    // A session that lives on finds out with its next transaction.
    return () => {
      for (const log of world.cluster.logs()) world.cluster.append(log, world.records(8));
    };
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
  "database: rewound": (world) => {
    const { cluster, choices, saveRawEvents } = world;
    // Without raw rows the command refuses.
    if (!saveRawEvents) return undefined;
    const topic = choices.one(cluster.names);
    const { id: topicId, logs } = cluster.topic(topic)!;
    const targets = logs.map(({ partition, beginning, end }) => ({
      topic,
      topicId,
      partition,
      at: beginning + choices.below(end - beginning + 1),
    }));
    void world.rewind(targets);
    return undefined;
  },
  "database: pruned": (world) => {
    // The hours of the topics' events are up to 3 hours old, or much older.
    void prune(world, world.choices.one([0.1, 1, 2, 50]));
    return undefined;
  },
  "database: clock moved": ({ postgres, choices }) => {
    postgres.shiftClock((choices.below(3) - 1) * HOUR_MS);
    return undefined;
  },
};

export const FAULTS: Readonly<Record<string, Fault>> = {
  ...CONSUMER_FAULTS,
  ...KAFKA_FAULTS,
  ...POSTGRES_FAULTS,
};

export const FAULT_NAMES: readonly string[] = Object.keys(FAULTS);
