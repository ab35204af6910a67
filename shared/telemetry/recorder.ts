// Records the metrics of one thread as compact deltas, which the main thread merges into one scrape.

import { printable } from "../text/format.ts";
import {
  type CounterName,
  EVENT_TYPE_LIMIT,
  type GaugeName,
  type HistogramName,
  type LabelValues,
  METRICS,
  type MetricName,
  OTHER_EVENT_TYPES,
} from "./metrics.ts";

/** How code reports figures, typed by the contract in metrics.ts. */
export interface Recorder {
  /** Adds to a counter. */
  add<Name extends CounterName>(metric: Name, n: number, ...labels: LabelValues<Name>): void;
  /** Adds `count` observations of one value to a histogram; costs the same for any count. */
  observe<Name extends HistogramName>(
    metric: Name,
    value: number,
    count?: number,
    ...labels: LabelValues<Name>
  ): void;
  /** Sets a gauge. */
  set<Name extends GaugeName>(metric: Name, value: number, ...labels: LabelValues<Name>): void;
  /** Removes the series of a gauge. */
  remove<Name extends GaugeName>(metric: Name, ...labels: LabelValues<Name>): void;
}

/** Also takes as many observations at once as a batch has events. */
export interface BatchRecorder extends Recorder {
  /** Observes for each of `indexes` what `valueOf` gives for it, at a fraction of the cost of as many calls. */
  observeEach<Name extends HistogramName>(
    metric: Name,
    indexes: ArrayLike<number>,
    valueOf: (index: number) => number,
    ...labels: LabelValues<Name>
  ): void;
}

/** The changes in one thread since the last `take`; can be sent by postMessage. */
export interface Recording {
  /** [metric, label values, increase] */
  readonly counters: readonly (readonly [CounterName, readonly string[], number])[];
  /** [metric, label values, value; undefined if the series was removed] */
  readonly gauges: readonly (readonly [GaugeName, readonly string[], number | undefined])[];
  /** [metric, label values, observations per bucket (not cumulative, the last is +Inf), their sum] */
  readonly histograms: readonly (readonly [HistogramName, readonly string[], Float64Array, number])[];
}

/**
 * Limits the distinct values of `event_type`, because any producer may send any type. The first ones have their own series
 * until the program ends; types with characters that act on a terminal never have one.
 */
export class EventTypeLimit {
  // The types of the simulator always have a series, regardless of what arrives first.
  readonly #known = new Set(["page_view", "click", "purchase", "search", "login", "logout"]);

  /** The label values, with an event type beyond the limit replaced by `other`. */
  apply(metric: MetricName, labels: readonly string[]): readonly string[] {
    const names: readonly string[] = METRICS[metric].labels;
    const index = names.indexOf("event_type");
    const type = index < 0 ? undefined : labels[index];
    if (type === undefined || this.#admits(type)) return labels;
    return labels.with(index, OTHER_EVENT_TYPES);
  }

  #admits(type: string): boolean {
    if (this.#known.has(type)) return true;
    if (this.#known.size >= EVENT_TYPE_LIMIT || type.length > 50) return false;
    if (printable(type) !== type) return false;
    this.#known.add(type);
    return true;
  }
}

/** One series of a histogram: observations per bucket, not cumulative, the last one for +Inf. */
export class BucketCounts {
  readonly counts: Float64Array;
  sum = 0;
  readonly #bounds: readonly number[];

  constructor(metric: HistogramName) {
    this.#bounds = METRICS[metric].buckets;
    this.counts = new Float64Array(this.#bounds.length + 1);
  }

  observe(value: number, count: number): void {
    let index = 0;
    while (index < this.#bounds.length && value > this.#bounds[index]!) index++;
    this.counts[index]! += count;
    this.sum += value * count;
  }

  merge(counts: Float64Array, sum: number): void {
    for (let index = 0; index < this.counts.length; index++) this.counts[index]! += counts[index] ?? 0;
    this.sum += sum;
  }
}

/** The series of one kind of metric, by metric and by label values. */
export class SeriesMap<Name extends MetricName, Value> {
  readonly #byMetric = new Map<Name, Map<string, { readonly labels: readonly string[]; value: Value }>>();

  /** The series of these label values; `make` creates the value of a new one. */
  series(
    metric: Name,
    labels: readonly string[],
    make: () => Value,
  ): { readonly labels: readonly string[]; value: Value } {
    let byLabels = this.#byMetric.get(metric);
    if (byLabels === undefined) {
      byLabels = new Map();
      this.#byMetric.set(metric, byLabels);
    }
    // No label value can hold NUL: topics, reasons and event types exclude it.
    const key = labels.length === 1 ? labels[0]! : labels.join("\0");
    let series = byLabels.get(key);
    if (series === undefined) {
      series = { labels: [...labels], value: make() };
      byLabels.set(key, series);
    }
    return series;
  }

  remove(metric: Name, labels: readonly string[]): void {
    this.#byMetric.get(metric)?.delete(labels.join("\0"));
  }

  *of(metric: Name): Generator<{ readonly labels: readonly string[]; value: Value }> {
    yield* this.#byMetric.get(metric)?.values() ?? [];
  }

  *all(): Generator<readonly [Name, readonly string[], Value]> {
    for (const [metric, byLabels] of this.#byMetric) {
      for (const { labels, value } of byLabels.values()) yield [metric, labels, value];
    }
  }

  clear(): void {
    this.#byMetric.clear();
  }
}

/** The recorder of a worker thread: plain maps that `take` empties. */
export class ThreadRecorder implements BatchRecorder {
  readonly #counters = new SeriesMap<CounterName, number>();
  readonly #gauges = new SeriesMap<GaugeName, number | undefined>();
  readonly #histograms = new SeriesMap<HistogramName, BucketCounts>();
  readonly #eventTypes = new EventTypeLimit();
  #hasChanged = false;

  add<Name extends CounterName>(metric: Name, n: number, ...labels: LabelValues<Name>): void {
    if (n === 0) return;
    this.#counters.series(metric, this.#eventTypes.apply(metric, labels), () => 0).value += n;
    this.#hasChanged = true;
  }

  observe<Name extends HistogramName>(
    metric: Name,
    value: number,
    count = 1,
    ...labels: LabelValues<Name>
  ): void {
    if (count === 0) return;
    this.#histograms.series(metric, labels, () => new BucketCounts(metric)).value.observe(value, count);
    this.#hasChanged = true;
  }

  observeEach<Name extends HistogramName>(
    metric: Name,
    indexes: ArrayLike<number>,
    valueOf: (index: number) => number,
    ...labels: LabelValues<Name>
  ): void {
    if (indexes.length === 0) return;
    const { value: buckets } = this.#histograms.series(metric, labels, () => new BucketCounts(metric));
    for (let i = 0; i < indexes.length; i++) buckets.observe(valueOf(indexes[i]!), 1);
    this.#hasChanged = true;
  }

  set<Name extends GaugeName>(metric: Name, value: number, ...labels: LabelValues<Name>): void {
    this.#gauges.series(metric, labels, () => undefined).value = value;
    this.#hasChanged = true;
  }

  remove<Name extends GaugeName>(metric: Name, ...labels: LabelValues<Name>): void {
    this.#gauges.series(metric, labels, () => undefined).value = undefined;
    this.#hasChanged = true;
  }

  /** The changes since the last call; undefined if there were none. */
  take(): Recording | undefined {
    if (!this.#hasChanged) return undefined;
    const recording: Recording = {
      counters: [...this.#counters.all()],
      gauges: [...this.#gauges.all()],
      histograms: [...this.#histograms.all()].map(([metric, labels, { counts, sum }]) => [
        metric,
        labels,
        counts,
        sum,
      ]),
    };
    this.#counters.clear();
    this.#gauges.clear();
    this.#histograms.clear();
    this.#hasChanged = false;
    return recording;
  }
}
