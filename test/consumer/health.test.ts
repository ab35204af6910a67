import { describe, expect, test } from "bun:test";
import { loadConfig } from "../../shared/config/config.ts";
import { MetricsRegistry } from "../../shared/telemetry/registry.ts";
import { consumerProbe } from "../../workers/alerting.ts";
import {
  ConsumerHealth,
  type ConsumerSnapshot,
  describeFlow,
  type WorkerSnapshot,
} from "../../workers/consumer/health.ts";
import type { PartitionStatus, WorkerStatus } from "../../workers/consumer/thread-messages.ts";

const HEALTHY: WorkerStatus = {
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
    unplacedBecause: undefined,
    unreadableBecause: undefined,
    overLimitBecause: undefined,
    ...changes,
  };
}

function worker(status: Partial<WorkerStatus> = {}, number = 0): WorkerSnapshot {
  return { worker: number, status: { ...HEALTHY, ...status }, isSilent: false };
}

/** A consumer's health, with a snapshot that the test changes. */
class Trial {
  snapshot: ConsumerSnapshot = { workers: [], databaseFault: undefined, isStopping: false };
  readonly health = new ConsumerHealth(() => this.snapshot);

  /** @returns `kind (severity): message` of each problem */
  at(second: number, workers: readonly WorkerSnapshot[] | undefined = this.snapshot.workers): string[] {
    this.snapshot = { ...this.snapshot, workers };
    return this.health
      .problems(second * 1000)
      .map(({ kind, severity, message }) => `${kind} (${severity}): ${message}`);
  }
}

describe("the consumer's health", () => {
  test("is without problems while every partition is read and stored", () => {
    const trial = new Trial();
    for (let second = 0; second < 600; second++) {
      const partitions = [partition(0, { lag: 1e6, storedOffset: Math.floor(second / 50) }), partition(1)];
      expect(trial.at(second, [worker({ partitions })])).toEqual([]);
    }
  });

  test("reports what a start waits for", () => {
    const trial = new Trial();
    trial.snapshot = { workers: undefined, databaseFault: undefined, isStopping: false };
    expect(trial.at(0)).toEqual(["starting (warning): waiting for PostgreSQL or Kafka"]);
    trial.snapshot = { ...trial.snapshot, databaseFault: "refused (db:5432)" };
    expect(trial.at(1)).toEqual(["no_database (critical): PostgreSQL is unreachable: refused (db:5432)"]);
    const starting = { worker: 0, status: undefined, isSilent: false };
    trial.snapshot = { ...trial.snapshot, databaseFault: undefined };
    expect(trial.at(2, [starting, worker({ hasDatabase: false, hasJoined: false }, 1)])).toEqual([
      "starting (warning): all 2 workers are starting",
    ]);
    expect(trial.at(3, [worker({ hasJoined: false }), worker({}, 1)])).toEqual([
      "not_joined (warning): worker 0 has not joined the consumer group",
    ]);
  });

  test("reports that the consumer is stopping, along with what is wrong", () => {
    const trial = new Trial();
    trial.snapshot = { workers: undefined, databaseFault: undefined, isStopping: true };
    expect(trial.at(0)).toEqual(["stopping (warning): what was read is being committed"]);
    expect(trial.at(1, [worker({ pausedBecause: "no such table" })])).toEqual([
      "stopping (warning): what was read is being committed",
      "paused (critical): the worker is paused: no such table",
    ]);
  });

  test("reports a worker that lost its database, or has waited 10 s for an answer", () => {
    const trial = new Trial();
    expect(trial.at(0, [worker({ databaseUnansweredSeconds: 9 })])).toEqual([]);
    expect(trial.at(1, [worker({ databaseUnansweredSeconds: 12 }), worker({}, 1)])).toEqual([
      "no_database (critical): PostgreSQL is unreachable from worker 0: no answer within 10 s",
    ]);
    const away = { hasDatabase: false, pausedBecause: "refused" };
    expect(trial.at(2, [worker(), worker(away, 1), worker(away, 2)])).toEqual([
      "no_database (critical): PostgreSQL is unreachable from workers 1, 2: refused",
    ]);
    expect(trial.at(3, [worker(away), worker(away, 1)])).toEqual([
      "no_database (critical): PostgreSQL is unreachable from all 2 workers: refused",
    ]);
  });

  test("reports what the main thread misses only where no worker misses it", () => {
    const trial = new Trial();
    trial.snapshot = { workers: [worker()], databaseFault: "refused", isStopping: false };
    expect(trial.at(0)).toEqual(["no_database (critical): PostgreSQL is unreachable: refused"]);
    expect(trial.at(1, [worker({ hasDatabase: false, pausedBecause: "closed" })])).toEqual([
      "no_database (critical): PostgreSQL is unreachable from the worker: closed",
    ]);
  });

  test("reports workers that are paused for one reason as one problem", () => {
    const trial = new Trial();
    const paused = { pausedBecause: "no such table" };
    expect(trial.at(0, [worker(paused), worker(paused, 1), worker({ pausedBecause: "locked" }, 2)])).toEqual([
      "paused (critical): workers 0, 1 are paused: no such table",
      "paused (critical): worker 2 is paused: locked",
    ]);
  });

  test("reports a thread that hangs as critical, and nothing of its old state", () => {
    const trial = new Trial();
    const stuck = worker({ partitions: [partition(0, { lag: 5 })], databaseUnansweredSeconds: 60 }, 1);
    trial.at(0, [worker(), stuck]);
    expect(trial.at(60, [worker(), { ...stuck, isSilent: true }])).toEqual([
      "thread_silent (critical): worker 1 hangs: no sign of life for 6 s; after 20 s the process ends",
    ]);
    const starting = { worker: 0, status: undefined, isSilent: true };
    expect(trial.at(61, [starting])).toEqual([
      "thread_silent (critical): the worker hangs: no sign of life for 6 s; after 20 s the process ends",
    ]);
  });

  test("reports partitions that are not read with their state", () => {
    const partitions = [partition(0), partition(2, { state: "out_of_range" })];
    const other = worker({ partitions: [partition(1, { state: "awaiting_offset" })] }, 1);
    expect(new Trial().at(0, [worker({ partitions }), other])).toEqual([
      "partition_not_read (warning): not read: t[2] (out_of_range), t[1] (awaiting_offset)",
    ]);
  });

  test("reports a topic without an id as the reason why its partitions are not read", () => {
    const trial = new Trial();
    const unplaced = { state: "awaiting_offset", unplacedBecause: "topic t has no id" } as const;
    const partitions = [partition(0), partition(1, unplaced), partition(2, unplaced)];
    const names = "t[1] (awaiting_offset), t[2] (awaiting_offset)";
    expect(trial.at(0, [worker({ partitions })])).toEqual([
      `partition_not_read (warning): not read: ${names}: topic t has no id`,
    ]);
    expect(trial.at(60, [worker({ partitions, pausedBecause: "locked" })])).toEqual([
      "paused (critical): the worker is paused: locked",
      `no_progress (critical): no record of ${names} was stored for a minute: topic t has no id`,
    ]);
  });

  test("reports a partition that cannot be read as critical with its reason, and only so", () => {
    const trial = new Trial();
    const gzip = { unreadableBecause: "compressed with gzip", lag: 5 };
    const partitions = [partition(0), partition(1, gzip), partition(3, { unreadableBecause: "damaged" })];
    const workers = [worker({ partitions }), worker({ partitions: [partition(2, gzip)] }, 1)];
    const problems = [
      "partition_unreadable (critical): not readable: t[1], t[2]: compressed with gzip",
      "partition_unreadable (critical): not readable: t[3]: damaged",
    ];
    expect(trial.at(0, workers)).toEqual(problems);
    expect(trial.at(600, workers)).toEqual(problems);
    expect(trial.at(601, [worker({ partitions: [partition(0)] })])).toEqual([]);
  });

  test("reports a partition that its dead letters have stopped as critical with the reason, and only so", () => {
    const trial = new Trial();
    const stopped = { state: "over_limit" as const, overLimitBecause: "too many are not_json", lag: 5 };
    const workers = [worker({ partitions: [partition(0), partition(1, stopped)] })];
    const problems = ["partition_over_limit (critical): stopped: t[1]: too many are not_json"];
    expect(trial.at(0, workers)).toEqual(problems);
    expect(trial.at(600, workers)).toEqual(problems);
  });

  test("is critical about a partition of which nothing is stored for a minute while records wait", () => {
    const trial = new Trial();
    const stuck = worker({ partitions: [partition(3, { lag: 7 }), partition(4)] });
    expect(trial.at(0, [stuck])).toEqual([]);
    expect(trial.at(59, [stuck])).toEqual([]);
    expect(trial.at(60, [stuck])).toEqual([
      "no_progress (critical): no record of t[3] was stored for a minute",
    ]);
    // More waiting records change nothing; a stored one does.
    const worse = worker({ partitions: [partition(3, { lag: 9 })], pausedBecause: "column missing" });
    expect(trial.at(61, [worse])).toContain(
      "no_progress (critical): no record of t[3] was stored for a minute: column missing",
    );
    const better = worker({ partitions: [partition(3, { lag: 8, storedOffset: 101 })] });
    expect(trial.at(62, [better])).toEqual([]);
    expect(trial.at(121, [better])).toEqual([]);
    expect(trial.at(122, [better])).toHaveLength(1);
  });

  test("starts the minute again for a partition that went away and came back", () => {
    const trial = new Trial();
    const waiting = worker({ partitions: [partition(0, { lag: 5 })] });
    trial.at(0, [waiting]);
    trial.at(30, [worker()]);
    trial.at(31, [waiting]);
    expect(trial.at(90, [waiting])).toEqual([]);
    expect(trial.at(91, [waiting])).toHaveLength(1);
  });

  test("reports a partition that moves between workers while none of its records is stored", () => {
    const trial = new Trial();
    const partitions = [partition(0, { lag: 5 })];
    trial.at(0, [worker({ partitions }), worker({}, 1)]);
    trial.at(30, [worker(), worker({ partitions }, 1)]);
    expect(trial.at(60, [worker({ partitions }), worker({}, 1)])).toHaveLength(1);
  });

  test("turns a warning that stands for a minute critical", () => {
    for (const [stuck, message] of [
      [{ worker: 0, status: undefined, isSilent: false }, "the worker is starting"],
      [worker({ hasJoined: false }), "the worker has not joined the consumer group"],
      [worker({ kafkaFault: "timed out" }), "Kafka does not answer the worker: timed out"],
    ] as const) {
      const trial = new Trial();
      expect(trial.at(1, [stuck])).toEqual([expect.stringContaining(`(warning): ${message}`)]);
      expect(trial.at(60, [stuck])).toEqual([expect.stringContaining("(warning)")]);
      expect(trial.at(61, [stuck])).toEqual([expect.stringContaining(`(critical): ${message}`)]);
      expect(trial.at(62, [worker()])).toEqual([]);
      expect(trial.at(63, [stuck])).toEqual([expect.stringContaining("(warning)")]);
    }
    const trial = new Trial();
    const waiting = worker({ partitions: [partition(2, { state: "out_of_range" })] });
    trial.at(0, [waiting]);
    expect(trial.at(60, [waiting])).toEqual([
      "no_progress (critical): no record of t[2] (out_of_range) was stored for a minute",
    ]);
  });

  test("starts every minute again when the database is back", () => {
    const trial = new Trial();
    const stuck = { partitions: [partition(0, { lag: 5 })] };
    trial.at(0, [worker(stuck)]);
    trial.at(59, [worker({ ...stuck, hasDatabase: false, pausedBecause: "refused" })]);
    expect(trial.at(118, [worker(stuck)])).toEqual([]);
    expect(trial.at(119, [worker(stuck)])).toHaveLength(1);
  });
});

describe("the consumer's alert conditions", () => {
  test("are breached by critical problems, those of the database apart from the others", () => {
    const trial = new Trial();
    const probe = consumerProbe({
      monitoring: loadConfig({}, "consumer").monitoring,
      metrics: new MetricsRegistry(),
      problems: trial.health.problems,
    });
    const breachedAt = (second: number, workers: readonly WorkerSnapshot[]) => {
      trial.snapshot = { ...trial.snapshot, workers };
      return probe(second * 1000)
        .filter(({ state }) => state === "breached")
        .map(({ type, summary }) => `${type}: ${summary}`);
    };
    const stuck = { hasJoined: false, partitions: [partition(0, { lag: 5 })] };
    expect(breachedAt(0, [worker(stuck)])).toEqual([]);
    expect(breachedAt(60, [worker(stuck)])).toEqual([
      "pipeline_failure: the worker has not joined the consumer group; no record of t[0] was stored for a minute",
    ]);
    expect(breachedAt(61, [worker({ ...stuck, hasDatabase: false, pausedBecause: "refused" })])).toEqual([
      "db_connection_failure: PostgreSQL is unreachable from the worker: refused",
    ]);
    expect(breachedAt(61.5, [{ ...worker(), isSilent: true }])).toEqual([
      "pipeline_failure: the worker hangs: no sign of life for 6 s; after 20 s the process ends",
    ]);
    // A pause that keeps no record waiting harms nothing.
    expect(breachedAt(62, [worker({ pausedBecause: "no such table" })])).toEqual([]);
    expect(breachedAt(200, [worker({ pausedBecause: "no such table" })])).toEqual([]);
  });
});

describe("the description of the flow", () => {
  test("counts workers and partitions", () => {
    const two = worker({ partitions: [partition(0), partition(1)] });
    expect(describeFlow([two, worker({ partitions: [partition(2)] }, 1)])).toBe(
      "2 workers read 3 partitions, and PostgreSQL stores the records",
    );
    expect(describeFlow([worker({ partitions: [partition(0)] })])).toBe(
      "1 worker reads 1 partition, and PostgreSQL stores the records",
    );
    expect(describeFlow([worker()])).toBe("1 worker ready; other consumers of the group have all partitions");
  });
});
