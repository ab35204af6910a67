// Tells how current the figures of some tables are, and when to read them again.

import type { Source } from "../../shared/api-schema.ts";
import { describeFault } from "../../shared/store/sqlstate.ts";

/** The page updates every second. */
const FRESH_MS = 900;
/** The interval between reads is this many times as long as a read: a slow database must not spend its time on them. */
const MIN_INTERVAL_PER_READ = 10;
/** How soon a read that failed is tried again. */
const RETRY_MS = 2000;

/** Times are those of performance.now(). */
export class TableSource {
  #source: Source = { state: "waiting", sinceMs: Date.now(), readAtMs: null, reason: null };
  #readAtMs: number | null = null;
  #dueAtMs = 0;

  get state(): Source {
    return this.#source;
  }

  isDue(): boolean {
    return performance.now() >= this.#dueAtMs;
  }

  /** @param startMs when the read began that has just ended */
  succeeded(startMs: number): void {
    this.#dueAtMs = startMs + Math.max(FRESH_MS, costOf(startMs));
    this.#readAtMs = Date.now();
    this.#set("current", null);
  }

  /** PostgreSQL is away, or has ended the session. */
  failed(error: unknown): void {
    this.#dueAtMs = performance.now() + RETRY_MS;
    this.#set("away", describeFault(error));
  }

  /** PostgreSQL has refused or ended a statement. @param startMs when the read began */
  refused(startMs: number, error: unknown): void {
    this.#dueAtMs = startMs + Math.max(RETRY_MS, costOf(startMs));
    this.#set("away", describeFault(error));
  }

  #set(state: Source["state"], reason: string | null): void {
    const sinceMs = this.#source.state === state ? this.#source.sinceMs : Date.now();
    this.#source = { state, sinceMs, readAtMs: state === "away" ? this.#readAtMs : null, reason };
  }
}

function costOf(startMs: number): number {
  return (performance.now() - startMs) * MIN_INTERVAL_PER_READ;
}
