import { describe, expect, test } from "bun:test";
import { DeliveryLedger } from "../../shared/producer/delivery-ledger.ts";
import { producerProbe } from "../../workers/alerting.ts";
import type { PartitionStatus, WorkerStatus } from "../../workers/consumer/thread-messages.ts";
import { databaseFault, Watchdog } from "../../workers/consumer/health.ts";

const SOUND: WorkerStatus = {
  hasJoined: true,
  hasDatabase: true,
  databaseUnansweredSeconds: 0,
  kafkaFault: undefined,
  pausedBecause: undefined,
  partitions: [],
};

function partition(number: number, changes: Partial<PartitionStatus> = {}): PartitionStatus {
  return {
    topic: "t",
    partition: number,
    state: "fetching",
    storedOffset: 100,
    endOffset: 100,
    lag: 0,
    ...changes,
  };
}

function worker(status: Partial<WorkerStatus>, number = 0) {
  return { worker: number, status: { ...SOUND, ...status } };
}

describe("the database counts as away", () => {
  test("where a worker has no connection, or has waited long for an answer", () => {
    expect(databaseFault([worker({}), { worker: 1, status: undefined }])).toBeUndefined();
    expect(databaseFault([worker({ databaseUnansweredSeconds: 9 })])).toBeUndefined();
    expect(databaseFault([worker({ databaseUnansweredSeconds: 12 })])).toBe(
      "PostgreSQL has not answered worker 0 for 12 s",
    );
    expect(databaseFault([worker({}), worker({ hasDatabase: false }, 1)])).toBe(
      "worker 1 has no connection to PostgreSQL",
    );
    expect(databaseFault([worker({ hasDatabase: false }), worker({ hasDatabase: false }, 1)])).toBe(
      "worker 0 has no connection to PostgreSQL; and 1 more like it",
    );
  });
});

describe("the watchdog", () => {
  test("speaks of a partition of which nothing is stored for a minute though records wait", () => {
    const watchdog = new Watchdog();
    const stuck = worker({ partitions: [partition(3, { lag: 7 }), partition(4)] });
    expect(watchdog.look([stuck], 0)).toBeUndefined();
    expect(watchdog.look([stuck], 59_000)).toBeUndefined();
    expect(watchdog.look([stuck], 60_000)).toBe(
      "7 records of t[3] wait, and nothing of it was stored for a minute",
    );
    // More records make it no better; one that is stored does.
    const worse = worker({ partitions: [partition(3, { lag: 9 })], pausedBecause: "column missing" });
    expect(watchdog.look([worse], 61_000)).toContain("9 records of t[3] wait");
    expect(watchdog.look([worse], 61_000)).toEndWith("(column missing)");
    const better = worker({ partitions: [partition(3, { lag: 8, storedOffset: 101 })] });
    expect(watchdog.look([better], 62_000)).toBeUndefined();
    expect(watchdog.look([better], 121_000)).toBeUndefined();
    expect(watchdog.look([better], 122_000)).toContain("8 records of t[3]");
  });

  test("is silent while each partition gets on, however slowly, and while there is nothing to do", () => {
    const watchdog = new Watchdog();
    for (let second = 0; second < 600; second++) {
      const partitions = [partition(0, { lag: 1e6, storedOffset: Math.floor(second / 50) }), partition(1)];
      expect(watchdog.look([worker({ partitions })], second * 1000)).toBeUndefined();
    }
  });

  test("begins anew with a partition that went away and came back", () => {
    const watchdog = new Watchdog();
    const waiting = worker({ partitions: [partition(0, { lag: 5 })] });
    watchdog.look([waiting], 0);
    watchdog.look([worker({})], 30_000);
    watchdog.look([waiting], 31_000);
    expect(watchdog.look([waiting], 90_000)).toBeUndefined();
    expect(watchdog.look([waiting], 91_000)).toBeDefined();
  });

  test("does not mind whose a partition is: one that is handed round is stuck all the same", () => {
    const watchdog = new Watchdog();
    const partitions = [partition(0, { lag: 5 })];
    watchdog.look([worker({ partitions }), worker({}, 1)], 0);
    watchdog.look([worker({}), worker({ partitions }, 1)], 30_000);
    expect(watchdog.look([worker({ partitions }), worker({}, 1)], 60_000)).toBeDefined();
  });

  test("speaks of partitions that are not read, of a group and of brokers that do not answer", () => {
    for (const [status, said] of [
      [{ partitions: [partition(2, { state: "beyond_end" })] }, "t[2] is not read: beyond_end, and nothing"],
      [{ hasJoined: false }, "worker 0 has not joined the consumer group for a minute"],
      [{ kafkaFault: "timed out" }, "Kafka has not answered worker 0 for a minute (timed out)"],
    ] as const) {
      const watchdog = new Watchdog();
      expect(watchdog.look([worker(status)], 1000)).toBeUndefined();
      expect(watchdog.look([worker(status)], 61_000)).toStartWith(said);
      expect(watchdog.look([worker({})], 62_000)).toBeUndefined();
    }
    const watchdog = new Watchdog();
    watchdog.look([{ worker: 1, status: undefined }], 0);
    expect(watchdog.look([{ worker: 1, status: undefined }], 60_000)).toBe("worker 1 does not start");
  });
});

test("the producer has failed when nothing is acknowledged for half a minute, and only then", () => {
  const deliveries = new DeliveryLedger();
  const look = producerProbe(deliveries);
  const stateAt = (second: number) => look(second * 1000)[0]?.state;
  expect(stateAt(0)).toBe("clear");
  expect(stateAt(100)).toBe("clear");
  const opaque = deliveries.opaque("click", 100);
  deliveries.sent = 10;
  expect(stateAt(101)).toBe("clear");
  expect(stateAt(130)).toBe("clear");
  expect(look(131_000)).toEqual([
    {
      type: "pipeline_failure",
      state: "breached",
      summary: "Kafka has acknowledged nothing for 30 s, and 10 records wait",
    },
  ]);
  deliveries.onDelivered(opaque);
  expect(stateAt(132)).toBe("clear");
  // Nine wait still.
  expect(stateAt(133)).toBe("clear");
  expect(stateAt(163)).toBe("breached");
  for (let n = 0; n < 9; n++) deliveries.onDelivered(opaque);
  expect(stateAt(164)).toBe("clear");
  expect(stateAt(300)).toBe("clear");
});
