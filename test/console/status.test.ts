import { describe, expect, test } from "bun:test";
import type { Alerts, Workers } from "../../shared/api-schema.ts";
import { statusOf } from "../../workers/console/status.ts";

type Worker = Workers[number];

const NO_ALERTS: Alerts = {
  own: [],
  prometheus: {
    url: "http://localhost:9090/",
    source: { state: "current", sinceMs: 0, readAtMs: null, reason: null },
    alerts: [],
  },
};

function worker(number: number, changes: Partial<Worker> = {}): Worker {
  const partitions = [0, 1].map((partition) => ({
    topic: "user-events",
    partition: number * 2 + partition,
    state: "fetching",
    storedOffset: 1,
    endOffset: 1,
    lag: 0,
  }));
  return { worker: number, state: "reading", pausedBecause: null, hasDatabase: true, partitions, ...changes };
}

function verdictOf(findings: Partial<Parameters<typeof statusOf>[0]>) {
  return statusOf({
    workers: [worker(0), worker(1)],
    databaseFault: undefined,
    alerts: NO_ALERTS,
    isStopping: false,
    ...findings,
  });
}

const own = (severity: "warning" | "critical", endedAtMs: number | null = null): Alerts => ({
  ...NO_ALERTS,
  own: [{ type: "high_error_rate", severity, summary: "much is wrong", startedAtMs: 1, endedAtMs }],
});
const ofPrometheus = (state: "pending" | "firing", severity: string): Alerts => ({
  ...NO_ALERTS,
  prometheus: {
    ...NO_ALERTS.prometheus,
    alerts: [1, 2].map(() => ({
      name: "Late",
      state,
      severity,
      summary: "all is late",
      description: "",
      sinceMs: 1,
      runbook: null,
      runbookUrl: null,
    })),
  },
});

describe("the verdict", () => {
  test("well, with what flows", () => {
    expect(verdictOf({})).toEqual({
      state: "well",
      headline: "All is well",
      reasons: ["2 workers read 4 partitions, and PostgreSQL takes what they read"],
    });
    expect(verdictOf({ workers: [worker(0, { partitions: [] })] })).toMatchObject({
      state: "well",
      reasons: ["1 worker ready; the other consumers of the group have all partitions"],
    });
  });

  test("starting, until one has joined", () => {
    expect(verdictOf({ workers: undefined }).state).toBe("starting");
    expect(
      verdictOf({ workers: [worker(0, { state: "starting" }), worker(1, { state: "joining" })] }).state,
    ).toBe("starting");
    expect(verdictOf({ workers: [worker(0), worker(1, { state: "joining" })] })).toMatchObject({
      state: "attention",
      reasons: ["1 of 2 workers is not in the consumer group yet"],
    });
    expect(verdictOf({ isStopping: true }).state).toBe("stopping");
  });

  test("trouble when nothing is stored, said once for all workers", () => {
    const paused = { state: "paused", pausedBecause: "PostgreSQL is gone" } as const;
    expect(
      verdictOf({ workers: [worker(0, paused), worker(1, paused)], databaseFault: "no connection" }),
    ).toEqual({
      state: "trouble",
      headline: "Something is wrong",
      reasons: ["all workers are paused: PostgreSQL is gone"],
    });
    expect(verdictOf({ workers: [worker(0), worker(1, paused)] }).reasons).toEqual([
      "1 of 2 workers is paused: PostgreSQL is gone",
    ]);
    // A frozen database: nobody is paused yet.
    expect(verdictOf({ databaseFault: "PostgreSQL has not answered" })).toMatchObject({
      state: "trouble",
      reasons: ["PostgreSQL has not answered"],
    });
  });

  test("a look at partitions that are not read", () => {
    const [first, second] = worker(0).partitions;
    const workers = [worker(0, { partitions: [first!, { ...second!, state: "beyond_end" }] })];
    expect(verdictOf({ workers })).toMatchObject({
      state: "attention",
      reasons: ["not read: user-events[1] (beyond end)"],
    });
  });

  test("as bad as the alerts that are on, those of Prometheus once a rule", () => {
    expect(verdictOf({ alerts: own("warning") })).toMatchObject({
      state: "attention",
      reasons: ["alert: much is wrong"],
    });
    expect(verdictOf({ alerts: own("critical") }).state).toBe("trouble");
    expect(verdictOf({ alerts: own("critical", 2) }).state).toBe("well");
    expect(verdictOf({ alerts: ofPrometheus("pending", "critical") }).state).toBe("well");
    expect(verdictOf({ alerts: ofPrometheus("firing", "warning") })).toMatchObject({
      state: "attention",
      reasons: ["Prometheus: all is late"],
    });
    expect(verdictOf({ alerts: ofPrometheus("firing", "critical") }).state).toBe("trouble");
  });
});
