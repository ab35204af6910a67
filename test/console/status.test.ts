import { describe, expect, test } from "bun:test";
import type { Alerts } from "../../shared/api-schema.ts";
import { statusOf } from "../../workers/console/status.ts";
import type { Problem } from "../../workers/problem.ts";

const NO_ALERTS: Alerts = {
  own: [],
  prometheus: {
    url: "http://localhost:9090/",
    source: { state: "current", sinceMs: 0, readAtMs: null, reason: null },
    alerts: [],
  },
};

function status(problems: readonly Problem[], alerts: Alerts = NO_ALERTS) {
  return statusOf({ problems, alerts, whenWell: "2 workers read 4 partitions" });
}

function problem(kind: string, severity: Problem["severity"], message: string = kind): Problem {
  return { kind, severity, message };
}

function own(severity: "warning" | "critical", changes: Partial<Alerts["own"][number]> = {}): Alerts {
  const alert = {
    type: "high_error_rate",
    severity,
    summary: "much is wrong",
    startedAtMs: 1,
    endedAtMs: null,
  };
  return { ...NO_ALERTS, own: [{ ...alert, ...changes }] };
}

function ofPrometheus(state: "pending" | "firing", severity: string): Alerts {
  return {
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
  };
}

describe("the status", () => {
  test("is 'well' without problems and alerts, with a sentence about the flow", () => {
    expect(status([])).toEqual({
      state: "well",
      headline: "All is well",
      reasons: ["2 workers read 4 partitions"],
    });
  });

  test("is starting while a worker starts or has not joined, until an alert is active", () => {
    const problems = [problem("not_joined", "warning"), problem("partition_not_read", "warning")];
    expect(status([problem("starting", "warning")])).toMatchObject({
      state: "starting",
      reasons: ["starting"],
    });
    expect(status(problems).state).toBe("starting");
    expect(status(problems, own("warning")).state).toBe("attention");
  });

  test("is stopping when the program stops, for that reason alone", () => {
    const problems = [problem("stopping", "warning", "committing"), problem("no_database", "critical")];
    expect(status(problems, own("critical"))).toEqual({
      state: "stopping",
      headline: "Stopping",
      reasons: ["committing"],
    });
  });

  test("is 'trouble' with a critical problem, and shows the critical problems alone", () => {
    const problems = [
      problem("paused", "critical", "worker 1 is paused"),
      problem("partition_not_read", "warning", "not read: t[1]"),
    ];
    expect(status(problems)).toEqual({
      state: "trouble",
      headline: "Something is wrong",
      reasons: ["worker 1 is paused"],
    });
  });

  test("is 'attention' with a warning", () => {
    expect(status([problem("partition_not_read", "warning", "not read: t[1]")])).toEqual({
      state: "attention",
      headline: "Needs attention",
      reasons: ["not read: t[1]"],
    });
  });

  test("names an unreachable database once, by its problem and not by its alert", () => {
    const alert = { type: "db_connection_failure", summary: "PostgreSQL is unreachable from worker 1" };
    const unreachable = problem("no_database", "critical", "PostgreSQL is unreachable from all 2 workers");
    expect(status([unreachable], own("critical", alert)).reasons).toEqual([unreachable.message]);
    // The problem is over, and its alert ends a while later.
    expect(status([], own("critical", alert)).reasons).toEqual([
      "Alert since 1970-01-01 00:00:00 UTC: PostgreSQL is unreachable from worker 1",
    ]);
  });

  test("names a problem once that is an alert as well", () => {
    const stuck = problem("no_progress", "critical", "no record of t[0] was stored for a minute");
    const alert = { type: "pipeline_failure", summary: stuck.message };
    expect(status([stuck], own("critical", alert)).reasons).toEqual([stuck.message]);
  });

  test("is as bad as the worst active alert, and names an alert of Prometheus once", () => {
    expect(status([], own("warning"))).toMatchObject({
      state: "attention",
      reasons: ["Alert since 1970-01-01 00:00:00 UTC: much is wrong"],
    });
    expect(status([], own("critical")).state).toBe("trouble");
    expect(status([], own("critical", { endedAtMs: 2 })).state).toBe("well");
    expect(status([], ofPrometheus("pending", "critical")).state).toBe("well");
    expect(status([], ofPrometheus("firing", "warning"))).toMatchObject({
      state: "attention",
      reasons: ["Prometheus: all is late"],
    });
    expect(status([], ofPrometheus("firing", "critical")).state).toBe("trouble");
  });
});
