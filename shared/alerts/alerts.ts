// Turns the states of conditions into alerts that start once and end once.

import { errorMessage } from "../runtime/errors.ts";
import { type Clock, systemClock } from "../runtime/clock.ts";
import type { Logger } from "../telemetry/log.ts";
import { ALERT_SEVERITIES } from "../telemetry/metrics.ts";
import type { Recorder } from "../telemetry/recorder.ts";

export type AlertType = keyof typeof ALERT_SEVERITIES;

export interface Alert {
  readonly type: AlertType;
  readonly severity: "warning" | "critical";
  /** One sentence for a person, as of the start of the alert. */
  readonly summary: string;
  /** Milliseconds since 1970. */
  readonly startedAtMs: number;
  /** Undefined while the alert is active. */
  readonly endedAtMs: number | undefined;
}

/** The state of a condition at one moment. */
export interface ConditionState {
  readonly type: AlertType;
  /** `between`: no longer breached, but not clear enough to end an alert; nothing changes. */
  readonly state: "breached" | "between" | "clear";
  /** For the alert that may start; see `Alert.summary`. */
  readonly summary: string;
}

/** How long a condition must be breached before its alert starts; short breaches need no action. */
const START_AFTER_MS: Readonly<Record<AlertType, number>> = {
  high_error_rate: 5000,
  high_consumer_lag: 15_000,
  high_processing_latency: 5000,
  db_connection_failure: 5000,
  // The health modules have waited already.
  pipeline_failure: 0,
};
/** How long it must be clear before its alert ends; one that comes back at once is the same alert. */
const END_AFTER_MS = 10_000;
const ENDED_KEPT = 20;

interface Condition {
  alert: Alert | undefined;
  /** Since when it is breached or, while the alert is active, clear; monotonic, ms. */
  changingSinceMs: number | undefined;
}

export interface AlertsOptions {
  readonly log: Logger;
  readonly metrics: Recorder;
  /** Is called with each alert when it starts, and again when it ends. */
  readonly onChange?: (alert: Alert) => void;
  readonly clock?: Clock;
}

/** The alerts of one program. Each is reported, counted and logged when it starts and when it ends, and not between. */
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

  /** Updates the conditions; a condition that is not among `states` keeps its state. */
  observe(states: readonly ConditionState[]): void {
    if (this.#hasEnded) return;
    for (const state of states) this.#observe(state);
  }

  /**
   * Reports the error that is about to end the program: `pipeline_failure` starts at once and never ends. If it is
   * active for another reason, that alert ends first.
   */
  failed(error: unknown): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    const condition = this.#condition("pipeline_failure");
    if (condition.alert !== undefined) this.#end(condition);
    this.#start(condition, "pipeline_failure", `the program ends: ${errorMessage(error)}`);
  }

  /** The program stops as requested: ends all active alerts, or their receivers would show them forever. */
  stopped(): void {
    this.#hasEnded = true;
    for (const condition of this.#conditions.values())
      if (condition.alert !== undefined) this.#end(condition);
  }

  /** The active alerts, newest first, then the last twenty that ended, newest first. */
  recent(): readonly Alert[] {
    const active = [...this.#conditions.values()].flatMap(({ alert }) => alert ?? []);
    return [...active.toSorted((a, b) => b.startedAtMs - a.startedAtMs), ...this.#ended];
  }

  #observe({ type, state, summary }: ConditionState): void {
    const condition = this.#condition(type);
    const isActive = condition.alert !== undefined;
    if (state !== (isActive ? "clear" : "breached")) {
      condition.changingSinceMs = undefined;
      return;
    }
    const nowMs = this.#clock.monotonicMs();
    condition.changingSinceMs ??= nowMs;
    const neededMs = isActive ? END_AFTER_MS : START_AFTER_MS[type];
    if (nowMs - condition.changingSinceMs < neededMs) return;
    if (isActive) this.#end(condition);
    else this.#start(condition, type, summary);
  }

  #start(condition: Condition, type: AlertType, summary: string): void {
    const { log, metrics, onChange } = this.#options;
    const severity = ALERT_SEVERITIES[type];
    const alert: Alert = { type, severity, summary, startedAtMs: this.#clock.now(), endedAtMs: undefined };
    condition.alert = alert;
    condition.changingSinceMs = undefined;
    metrics.add("alerts_fired_total", 1, type, severity);
    log[severity === "critical" ? "error" : "warn"]({ alert: type, severity }, `alert: ${summary}`);
    onChange?.(alert);
  }

  #end(condition: Condition): void {
    const { log, onChange } = this.#options;
    const alert: Alert = { ...condition.alert!, endedAtMs: this.#clock.now() };
    condition.alert = undefined;
    condition.changingSinceMs = undefined;
    this.#ended = [alert, ...this.#ended].slice(0, ENDED_KEPT);
    const { type, severity, startedAtMs, endedAtMs = startedAtMs } = alert;
    log.info({ alert: type, severity, lastedMs: endedAtMs - startedAtMs }, `alert over: ${alert.summary}`);
    onChange?.(alert);
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
