// Merges the recordings of all threads and renders them for Prometheus. Main thread only.

import { collectDefaultMetrics, type Metric, type MetricValueWithName, Registry } from "prom-client";
import {
  ALERT_SEVERITIES,
  type CounterName,
  type GaugeName,
  type HistogramName,
  type LabelValues,
  METRIC_NAMES,
  METRICS,
  type MetricName,
  metricsOf,
  type Program,
} from "./metrics.ts";
import { BucketCounts, EventTypeLimit, type Recorder, type Recording, SeriesMap } from "./recorder.ts";

/** One series of a counter or gauge: its label values in the order of metrics.ts, and its value. */
export interface Series {
  readonly labels: readonly string[];
  readonly value: number;
}

/** The source of the main thread's own figures. */
const MAIN = "main";

/**
 * The metrics of prom-client that work under Bun and follow Prometheus' conventions. Left out: V8's heap spaces and
 * libuv's handles, which Bun does not have, and loop percentiles, whose timer wakes an idle process.
 */
export const PROCESS_METRICS: ReadonlySet<string> = new Set([
  "process_cpu_user_seconds_total",
  "process_cpu_system_seconds_total",
  "process_cpu_seconds_total",
  "process_start_time_seconds",
  "process_resident_memory_bytes",
  "process_open_fds",
  "process_max_fds",
  "nodejs_eventloop_lag_seconds",
  "nodejs_heap_size_total_bytes",
  "nodejs_heap_size_used_bytes",
  "nodejs_external_memory_bytes",
]);

/**
 * Every metric of metrics.ts, merged from all sources and rendered by prom-client. It is also the Recorder of the main
 * thread. Counters and histograms never decrease; the gauges of a source are removed with it.
 */
export class MetricsRegistry implements Recorder {
  readonly contentType = Registry.PROMETHEUS_CONTENT_TYPE;
  readonly #registry = new Registry();
  readonly #counters = new SeriesMap<CounterName, number>();
  readonly #histograms = new SeriesMap<HistogramName, BucketCounts>();
  readonly #gauges = new SeriesMap<GaugeName, Map<string, number>>();
  readonly #eventTypes = new EventTypeLimit();

  /**
   * @param options.program exports the metrics of this program only; by default those of both
   * @param options.processMetrics adds CPU, memory and event loop metrics of this process
   */
  constructor({ program, processMetrics = false }: { program?: Program; processMetrics?: boolean } = {}) {
    for (const name of program === undefined ? METRIC_NAMES : metricsOf(program)) this.#register(name);
    for (const [alert, severity] of Object.entries(ALERT_SEVERITIES)) {
      this.#counters.series("alerts_fired_total", [alert, severity], () => 0);
    }
    if (processMetrics) {
      // The precision sets the timer behind the percentiles, which are left out.
      collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: 60_000 });
      for (const { name } of this.#registry.getMetricsAsArray()) {
        if (!(name in METRICS) && !PROCESS_METRICS.has(name)) this.#registry.removeSingleMetric(name);
      }
    }
  }

  add<Name extends CounterName>(metric: Name, n: number, ...labels: LabelValues<Name>): void {
    this.#add(metric, labels, n);
  }

  observe<Name extends HistogramName>(
    metric: Name,
    value: number,
    count = 1,
    ...labels: LabelValues<Name>
  ): void {
    this.#histograms.series(metric, labels, () => new BucketCounts(metric)).value.observe(value, count);
  }

  set<Name extends GaugeName>(metric: Name, value: number, ...labels: LabelValues<Name>): void {
    this.#set(metric, labels, value, MAIN);
  }

  remove<Name extends GaugeName>(metric: Name, ...labels: LabelValues<Name>): void {
    this.#set(metric, labels, undefined, MAIN);
  }

  /** Adds the recording of a thread. @param source the thread, as the owner of its gauges */
  merge(recording: Recording, source: string): void {
    for (const [metric, labels, n] of recording.counters) this.#add(metric, labels, n);
    for (const [metric, labels, counts, sum] of recording.histograms) {
      this.#histograms.series(metric, labels, () => new BucketCounts(metric)).value.merge(counts, sum);
    }
    for (const [metric, labels, value] of recording.gauges) this.#set(metric, labels, value, source);
  }

  /** Removes the gauges of a thread that has ended; its counts stay. */
  dropSource(source: string): void {
    for (const [metric, labels] of this.#gauges.all().toArray()) {
      if (METRICS[metric].merge !== "max") this.#set(metric, labels, undefined, source);
    }
  }

  /** All series of a counter or gauge with their label values. */
  values(metric: CounterName | GaugeName): Series[] {
    return [...this.#valuesOf(metric)];
  }

  /** The sum over all series of a counter or gauge; 0 if there are none. */
  total(metric: CounterName | GaugeName): number {
    return this.#valuesOf(metric).reduce((total, { value }) => total + value, 0);
  }

  /** The current state of a histogram without labels: observations per bucket, the last one for +Inf, and their sum. */
  histogram(metric: HistogramName): { readonly counts: Float64Array; readonly sum: number } {
    const { counts, sum } = this.#histograms.series(metric, [], () => new BucketCounts(metric)).value;
    return { counts: counts.slice(), sum };
  }

  /** The text of a scrape. */
  async text(): Promise<string> {
    return await this.#registry.metrics();
  }

  #add(metric: CounterName, labels: readonly string[], n: number): void {
    this.#counters.series(metric, this.#eventTypes.apply(metric, labels), () => 0).value += n;
  }

  #set(metric: GaugeName, labels: readonly string[], value: number | undefined, source: string): void {
    const bySource = this.#gauges.series(metric, labels, () => new Map()).value;
    const { merge } = METRICS[metric];
    if (value === undefined) bySource.delete(source);
    else if (merge === "max") bySource.set(source, Math.max(value, bySource.get(source) ?? value));
    else {
      if (merge === "last") bySource.clear();
      bySource.set(source, value);
    }
    if (bySource.size === 0) this.#gauges.remove(metric, labels);
  }

  *#valuesOf(metric: CounterName | GaugeName): Generator<Series> {
    if (isGauge(metric)) {
      const { merge } = METRICS[metric];
      for (const { labels, value: bySource } of this.#gauges.of(metric)) {
        const values = [...bySource.values()];
        yield { labels, value: merge === "max" ? Math.max(...values) : values.reduce((a, b) => a + b) };
      }
    } else yield* this.#counters.of(metric);
  }

  /** Registers the metric with prom-client, which reads its values from here at each scrape. */
  #register(name: MetricName): void {
    const { help, labels, type } = METRICS[name];
    // A series without labels starts at 0: rate() needs the 0 before the first 1.
    if (labels.length === 0) {
      if (isHistogram(name)) this.#histograms.series(name, [], () => new BucketCounts(name));
      else if (!isGauge(name)) this.#counters.series(name, [], () => 0);
    }
    const metric = { name, get: async () => ({ name, help, type, values: this.#rendered(name) }) };
    // prom-client uses only these two members of a metric; its own classes cannot take whole buckets.
    this.#registry.registerMetric(metric as unknown as Metric);
  }

  #rendered(name: MetricName): MetricValueWithName<string>[] {
    const labelNames: readonly string[] = METRICS[name].labels;
    const named = (values: readonly string[]): Record<string, string> =>
      Object.fromEntries(labelNames.map((label, index) => [label, values[index] ?? ""]));
    if (isHistogram(name)) {
      const series = this.#histograms.of(name).toArray();
      return series.flatMap(({ labels, value }) => bucketLines(name, named(labels), value));
    }
    return this.#valuesOf(name)
      .map(({ labels, value }) => ({ labels: named(labels), value }))
      .toArray();
  }
}

/** The lines of a histogram series: cumulative buckets, sum, count. */
function bucketLines(
  name: HistogramName,
  labels: Record<string, string>,
  { counts, sum }: BucketCounts,
): MetricValueWithName<string>[] {
  const bounds: readonly number[] = METRICS[name].buckets;
  let cumulative = 0;
  const lines: MetricValueWithName<string>[] = [...counts].map((count, index) => {
    cumulative += count;
    return {
      metricName: `${name}_bucket`,
      labels: { ...labels, le: bounds[index] ?? "+Inf" },
      value: cumulative,
    };
  });
  lines.push({ metricName: `${name}_sum`, labels, value: sum });
  lines.push({ metricName: `${name}_count`, labels, value: cumulative });
  return lines;
}

function isGauge(name: MetricName): name is GaugeName {
  return METRICS[name].type === "gauge";
}

function isHistogram(name: MetricName): name is HistogramName {
  return METRICS[name].type === "histogram";
}
