import { expect, test } from "bun:test";
import { METRICS } from "../../shared/telemetry/metrics.ts";
import { quantilesOf } from "../../shared/telemetry/quantiles.ts";

const METRIC = "event_age_at_commit_seconds";
const BOUNDS: readonly number[] = METRICS[METRIC].buckets;

/** @param per observations by upper bound; Infinity: beyond all */
function counts(per: Readonly<Record<string, number>>): number[] {
  return [...BOUNDS, Infinity].map((bound) => per[String(bound)] ?? 0);
}

test("nothing observed has no quantiles", () => expect(quantilesOf(METRIC, counts({}))).toBeUndefined());

test("within a bucket they lie on a straight line, as Prometheus has it", () => {
  const found = quantilesOf(METRIC, counts({ 1: 100 }));
  expect(found?.p50).toBeCloseTo(0.75);
  expect(found?.p95).toBeCloseTo(0.975);
  expect(found?.p99).toBeCloseTo(0.995);
  // The first bucket begins at 0.
  expect(quantilesOf(METRIC, counts({ 0.005: 10 }))?.p50).toBeCloseTo(0.0025);
});

test("across buckets by rank, empty ones left out", () => {
  expect(quantilesOf(METRIC, counts({ 0.01: 50, 10: 45, 3600: 5 }))).toEqual({
    p50: 0.01,
    p95: 10,
    p99: 900 + 2700 * (4 / 5),
  });
});

test("beyond the last bound they are that bound", () => {
  expect(quantilesOf(METRIC, counts({ Infinity: 3 }))?.p99).toBe(3600);
});
