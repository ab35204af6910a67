import { expect, test } from "bun:test";
import { METRICS } from "../../shared/telemetry/metrics.ts";
import { quantilesOf } from "../../shared/telemetry/quantiles.ts";

const METRIC = "event_age_at_commit_seconds";
const BOUNDS: readonly number[] = METRICS[METRIC].buckets;

/** @param per observations by upper bound; Infinity: beyond all bounds */
function counts(per: Readonly<Record<string, number>>): number[] {
  return [...BOUNDS, Infinity].map((bound) => per[String(bound)] ?? 0);
}

test("quantiles are undefined without observations", () =>
  expect(quantilesOf(METRIC, counts({}))).toBeUndefined());

test("quantiles are interpolated linearly within a bucket", () => {
  const found = quantilesOf(METRIC, counts({ 1: 100 }));
  expect(found?.p50).toBeCloseTo(0.75);
  expect(found?.p95).toBeCloseTo(0.975);
  expect(found?.p99).toBeCloseTo(0.995);
  // The first bucket begins at 0.
  expect(quantilesOf(METRIC, counts({ 0.005: 10 }))?.p50).toBeCloseTo(0.0025);
});

test("quantiles skip empty buckets", () => {
  expect(quantilesOf(METRIC, counts({ 0.01: 50, 10: 45, 3600: 5 }))).toEqual({
    p50: 0.01,
    p95: 10,
    p99: 900 + 2700 * (4 / 5),
  });
});

test("quantiles beyond the last bound are that bound", () => {
  expect(quantilesOf(METRIC, counts({ Infinity: 3 }))?.p99).toBe(3600);
});
