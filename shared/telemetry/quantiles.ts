// Estimates quantiles from the buckets of a histogram.

import type { Quantiles } from "../api-schema.ts";
import { type HistogramName, METRICS } from "./metrics.ts";

/**
 * Works like Prometheus's histogram_quantile: it interpolates linearly within a bucket, and returns at most the last
 * finite bound.
 * @param counts per bucket, not cumulative, the last one for +Inf
 * @returns undefined if nothing was observed
 */
export function quantilesOf(metric: HistogramName, counts: ArrayLike<number>): Quantiles | undefined {
  const bounds: readonly number[] = METRICS[metric].buckets;
  const total = Array.from(counts).reduce((sum, count) => sum + count, 0);
  if (total <= 0) return undefined;
  const quantile = (share: number): number => {
    const rank = share * total;
    let below = 0;
    for (const [index, bound] of bounds.entries()) {
      const count = counts[index] ?? 0;
      const lower = bounds[index - 1] ?? 0;
      if (count > 0 && below + count >= rank) return lower + (bound - lower) * ((rank - below) / count);
      below += count;
    }
    return bounds.at(-1) ?? 0;
  };
  return { p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99) };
}
