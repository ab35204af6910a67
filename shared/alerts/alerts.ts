// Readings of conditions in, once a second; alerts that begin once and end once out.

import { errorMessage } from "../runtime/errors.ts";
import { type Clock, systemClock } from "../runtime/clock.ts";
import type { Logger } from "../telemetry/log.ts";
import { ALERT_SEVERITIES } from "../telemetry/metrics.ts";
import type { Recorder } from "../telemetry/recorder.ts";

export type AlertType = keyof typeof ALERT_SEVERITIES;

export interface Alert {
  readonly type: AlertType;
  readonly severity: "warning" | "critical";
  /** One sentence for a person, with the value and the threshold as they were when it began. */
  readonly summary: string;
  /** Milliseconds since 1970. */
  readonly startedAtMs: number;
  /** Undefined: it is on. */
  readonly endedAtMs: number | undefined;
}

/** What a condition says at one moment. */
export interface ConditionState {
  readonly type: AlertType;
  /** `between`: not breached any more, though not by enough to call it over; what was, stays. */
  readonly state: "breached" | "between" | "clear";
  /** For the alert that may begin with it; see `Alert.summary`. */
  readonly summary: string;
}

/** How long a condition must hold before its alert begins: what passes by itself is no news. */
const BEGIN_AFTER_MS: Readonly<Record<AlertType, number>> = {
  high_error_rate: 5000,
  high_consumer_lag: 15_000,
  high_processing_latency: 5000,
  db_connection_failure: 5000,
  // Whoever reads this condition has waited already.
  pipeline_failure: 0,
};
/** How long it must be clear before its alert ends: what comes back at once was not over. */
const END_AFTER_MS = 10_000;
const ENDED_KEPT = 20;

interface Condition {
  alert: Alert | undefined;
  /** Since when it is breached, or, while the alert is on, since when it is clear; monotonic, ms. */
  changingSinceMs: number | undefined;
}

export interface AlertsOptions {
  readonly log: Logger;
  readonly metrics: Recorder;
  /** Hears of each alert when it begins, and again when it ends. */
  readonly onEdge?: (alert: Alert) => void;
  readonly clock?: Clock;
}

/** The alerts of one program. Each is told, counted and logged when it begins and when it ends, and not between. */
export class Alerts {
  readonly #options: AlertsOptions;
  readonly #clock: Clock;
  readonly #conditions = new Map<AlertType, Condition>();
  /** Newest first. */
  #ended: readonly Alert[] = [];
  #hasEnded = false;

  constructor(options: AlertsOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Takes what the conditions say now; a condition without a reading stays as it is. */
  observe(states: readonly ConditionState[]): void {
    if (this.#hasEnded) return;
    for (const state of states) this.#observe(state);
  }

  /** The program is about to end because of this: `pipeline_failure` begins at once, anew if it is on, and stays. */
  failed(error: unknown): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    const condition = this.#condition("pipeline_failure");
    if (condition.alert !== undefined) this.#end(condition);
    this.#begin(condition, "pipeline_failure", `the program ends: ${errorMessage(error)}`);
  }

  /** The program ends because it was asked to: with it ends what is on, or its receivers would keep it for ever. */
  stopped(): void {
    this.#hasEnded = true;
    for (const condition of this.#conditions.values())
      if (condition.alert !== undefined) this.#end(condition);
  }

  /** Those that are on, newest first, then the last twenty that ended, newest first. */
  recent(): readonly Alert[] {
    const on = [...this.#conditions.values()].flatMap(({ alert }) => alert ?? []);
    return [...on.toSorted((a, b) => b.startedAtMs - a.startedAtMs), ...this.#ended];
  }

  #observe({ type, state, summary }: ConditionState): void {
    const condition = this.#condition(type);
    const isOn = condition.alert !== undefined;
    if (state !== (isOn ? "clear" : "breached")) {
      condition.changingSinceMs = undefined;
      return;
    }
    const nowMs = this.#clock.monotonicMs();
    condition.changingSinceMs ??= nowMs;
    const neededMs = isOn ? END_AFTER_MS : BEGIN_AFTER_MS[type];
    if (nowMs - condition.changingSinceMs < neededMs) return;
    if (isOn) this.#end(condition);
    else this.#begin(condition, type, summary);
  }

  #begin(condition: Condition, type: AlertType, summary: string): void {
    const { log, metrics, onEdge } = this.#options;
    const severity = ALERT_SEVERITIES[type];
    const alert: Alert = { type, severity, summary, startedAtMs: this.#clock.now(), endedAtMs: undefined };
    condition.alert = alert;
    condition.changingSinceMs = undefined;
    metrics.add("alerts_fired_total", 1, type, severity);
    log[severity === "critical" ? "error" : "warn"]({ alert: type, severity }, `alert: ${summary}`);
    onEdge?.(alert);
  }

  #end(condition: Condition): void {
    const { log, onEdge } = this.#options;
    const alert: Alert = { ...condition.alert!, endedAtMs: this.#clock.now() };
    condition.alert = undefined;
    condition.changingSinceMs = undefined;
    this.#ended = [alert, ...this.#ended].slice(0, ENDED_KEPT);
    const { type, severity, startedAtMs, endedAtMs = startedAtMs } = alert;
    log.info({ alert: type, severity, lastedMs: endedAtMs - startedAtMs }, `alert over: ${alert.summary}`);
    onEdge?.(alert);
  }

  #condition(type: AlertType): Condition {
    let condition = this.#conditions.get(type);
    if (condition === undefined) {
      condition = { alert: undefined, changingSinceMs: undefined };
      this.#conditions.set(type, condition);
    }
    return condition;
  }
}
