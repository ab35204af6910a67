// Tells a worker thread that hangs from one that is idle.

/**
 * A thread with no news reports this often. Its longest work without a pause takes under 1 s (a batch of 100,000
 * records), so the limits below leave room for much slower machines.
 */
export const HEARTBEAT_MS = 1000;
/** How often the main thread looks for the heartbeats. */
export const TICK_MS = 1000;
export const SILENT_SECONDS = 6;
export const HUNG_SECONDS = 20;

/**
 * The heartbeats of one thread, as the main thread hears them. Silence is counted in ticks of the main thread, not in
 * time: where the whole process was stopped, or the main thread was busy, the other thread is not to blame.
 */
export class Heartbeat {
  #silentTicks = 0;

  /** To be called with each message of the thread. */
  heard(): void {
    this.#silentTicks = 0;
  }

  /** To be called every TICK_MS. @returns true once the thread counts as hung */
  tick(): boolean {
    this.#silentTicks++;
    return this.#silentTicks * TICK_MS >= HUNG_SECONDS * 1000;
  }

  /** True for a thread that probably hangs. */
  get isSilent(): boolean {
    return this.#silentTicks * TICK_MS >= SILENT_SECONDS * 1000;
  }
}
