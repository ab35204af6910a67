// Records what the alerts of a Prometheus do, with times.
import type { Prometheus } from "../support/prometheus.ts";

type State = "pending" | "firing" | "over";

interface Change {
  readonly atSeconds: number;
  readonly what: string;
  /** Undefined for a remark. */
  readonly alert?: string;
  readonly state?: State;
}

const POLL_INTERVAL_MS = 200;

/** Watches all alerts until it is disposed. An alert with several sets of labels counts as several. */
export class Timeline implements AsyncDisposable {
  readonly #prometheus: Prometheus;
  readonly #startMs = performance.now();
  readonly #changes: Change[] = [];
  readonly #on = new Map<string, { readonly name: string; readonly state: State }>();
  readonly #watching: Promise<void>;
  #isDone = false;

  constructor(prometheus: Prometheus) {
    this.#prometheus = prometheus;
    this.#watching = this.#watch();
  }

  /** The position in the timeline: `fired` and `states` take it as `since`. */
  get now(): number {
    return this.#changes.length;
  }

  remark(what: string): void {
    this.#changes.push({ atSeconds: this.#seconds(), what });
  }

  /** Whether an alert is in this state at the moment, under any labels. */
  is(name: string, state: "pending" | "firing"): boolean {
    return [...this.#on.values()].some((alert) => alert.name === name && alert.state === state);
  }

  /** Whether any alert is pending or firing. */
  get isQuiet(): boolean {
    return this.#on.size === 0;
  }

  /** The names of the alerts that have fired since. */
  fired(since = 0): string[] {
    const changes = this.#changes.slice(since).filter(({ state }) => state === "firing");
    return [...new Set(changes.flatMap(({ alert }) => alert ?? []))];
  }

  /** The states that an alert went through since. A time when it was pending and did not fire is left out. */
  states(name: string, since: number): State[] {
    const states = this.#changes
      .slice(since)
      .flatMap(({ alert, state }) => (alert === name && state !== undefined ? [state] : []));
    return states.filter((state, index) => {
      if (state === "pending") return states[index + 1] === "firing";
      return state === "firing" || states[index - 1] === "firing";
    });
  }

  /** One line for each change, with the seconds since the beginning. */
  get text(): string {
    return this.#changes
      .map(({ atSeconds, what }) => `${atSeconds.toFixed(1).padStart(7)} s  ${what}`)
      .join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDone = true;
    await this.#watching;
  }

  #seconds(): number {
    return (performance.now() - this.#startMs) / 1000;
  }

  async #watch(): Promise<void> {
    while (!this.#isDone) {
      const alerts = await this.#prometheus.alerts();
      const seen = new Set<string>();
      for (const { name, state, labels, annotations } of alerts) {
        const key = JSON.stringify(labels);
        seen.add(key);
        if (this.#on.get(key)?.state === state) continue;
        this.#on.set(key, { name, state });
        this.#add(name, state, state === "firing" ? `: ${annotations["description"]}` : "");
      }
      for (const [key, { name }] of this.#on) {
        if (seen.has(key)) continue;
        this.#on.delete(key);
        this.#add(name, "over", "");
      }
      await Bun.sleep(POLL_INTERVAL_MS);
    }
  }

  #add(alert: string, state: State, more: string): void {
    this.#changes.push({
      atSeconds: this.#seconds(),
      what: `${alert.padEnd(26)} ${state}${more}`,
      alert,
      state,
    });
  }
}
