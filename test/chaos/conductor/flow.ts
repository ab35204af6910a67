// Watches how far each partition is stored, and knows whether the flow goes on after a fault.
import type { ChaosCluster } from "./cluster.ts";
import type { LogKey } from "./log-history.ts";

const POLL_MS = 200;

/** Up to where a reading is stored. */
interface Stored {
  readonly reading: number;
  readonly next: number;
}

/** How far each partition was stored at a moment. */
export interface FlowMark {
  readonly stored: ReadonlyMap<string, Stored>;
  /** Partitions with records that were acknowledged and not stored at that moment. */
  readonly behind: ReadonlyMap<string, LogKey>;
}

export class Flow implements AsyncDisposable {
  readonly #cluster: ChaosCluster;
  #stored: ReadonlyMap<string, Stored> = new Map();
  /** Records that the offsets account for. */
  consumed = 0;
  #isStopped = false;
  readonly #polling: Promise<void>;

  constructor(cluster: ChaosCluster) {
    this.#cluster = cluster;
    this.#polling = this.#poll();
  }

  /** Acknowledged records that were not stored when PostgreSQL answered last. */
  lag(): number {
    return this.#lags().reduce((sum, { lag }) => sum + lag, 0);
  }

  mark(): FlowMark {
    return {
      stored: this.#stored,
      behind: new Map(this.#lags().flatMap(({ key, lag }) => (lag > 0 ? [[keyOf(key), key] as const] : []))),
    };
  }

  /** True when something was stored since, and every partition that was behind has moved. */
  hasMovedSince({ stored, behind }: FlowMark): boolean {
    const hasAny = [...this.#stored.keys()].some((key) => this.#hasMoved(key, stored));
    return hasAny && this.stuckSince({ stored, behind }).length === 0;
  }

  /** The partitions that were behind and have not moved since. Those of a topic that is gone never will. */
  stuckSince({ stored, behind }: FlowMark): string[] {
    const { topicIds } = this.#cluster.load;
    return [...behind]
      .filter(([, { topicId }]) => topicIds.includes(topicId))
      .flatMap(([key]) => (this.#hasMoved(key, stored) ? [] : [key]));
  }

  /** A log that was cut is read again under the next reading, from a lower offset. */
  #hasMoved(key: string, before: ReadonlyMap<string, Stored>): boolean {
    const [was, is] = [before.get(key), this.#stored.get(key)];
    if (was === undefined || is === undefined) return is !== undefined;
    return is.reading > was.reading || (is.reading === was.reading && is.next > was.next);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true;
    await this.#polling;
  }

  #lags(): { key: LogKey; lag: number }[] {
    const { load } = this.#cluster;
    return load.acknowledged
      .filter(({ key }) => load.topicIds.includes(key.topicId))
      .map(({ key, end }) => ({ key, lag: Math.max(0, end - (this.#stored.get(keyOf(key))?.next ?? 0)) }));
  }

  async #poll(): Promise<void> {
    while (!this.#isStopped) {
      await this.#read().catch(() => undefined);
      await Bun.sleep(POLL_MS);
    }
  }

  async #read(): Promise<void> {
    const rows = await this.#cluster.sql<(LogKey & Stored & { consumed: number })[]>`
      select topic, topic_id as "topicId", partition, reading, next_offset::float8 as next, consumed::float8
      from pipeline_offsets order by reading`;
    this.#stored = new Map(rows.map((row) => [keyOf(row), row]));
    this.consumed = rows.reduce((sum, { consumed }) => sum + consumed, 0);
  }
}

function keyOf({ topic, topicId, partition }: LogKey): string {
  return `${topic} ${topicId} [${partition}]`;
}
