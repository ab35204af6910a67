// Sets up a model of PostgreSQL with some partitions, and lets its time pass step by step.

import { fence } from "../../../shared/store/offsets.ts";
import { enterPartitions } from "../../../shared/store/positions.ts";
import type { StoreSession } from "../../../shared/store/session.ts";
import { Store } from "../../../shared/store/store.ts";
import { eventWithId } from "../../pipeline/record.ts";
import { batchFrom, countedSpans, partitionKey, STORE_OPTIONS } from "../../store/pipeline-database.ts";
import { seededRandom } from "../../support/seeded-random.ts";
import { VirtualTime } from "../virtual-time.ts";
import type { ModelClient } from "./model-client.ts";
import type { DeadlockMember } from "./model-options.ts";
import { PostgresModel } from "./postgres-model.ts";

export const GROUP = "group";

/** A model with the partitions 0 and 1, and time that passes only while something is awaited by `done`. */
export class ModelLab {
  readonly time = new VirtualTime(seededRandom(3));
  readonly deadlocks: (readonly DeadlockMember[])[] = [];
  readonly trace: string[] = [];
  lost = 0;
  readonly model = new PostgresModel(this.time, {
    consumerGroup: GROUP,
    epochMs: 1_800_000_000_000,
    onDeadlock: (members) => this.deadlocks.push(members),
    onLost: (_, lost) => (this.lost += lost.length),
    trace: (text) => this.trace.push(`${this.time.nowMs()} ${text}`),
  });

  constructor() {
    const session = this.open();
    const starts = [0, 1].map((partition) => ({ ...partitionKey(partition), nextOffset: 0 }));
    this.done(session.run((sql) => enterPartitions(sql, starts)));
    // Long enough for it to be on disk.
    this.pass(1000);
  }

  /** Lets time pass until the work is done. @returns its value, or the error that it ends with */
  done<T>(work: Promise<T>, withinMs = 120_000): T {
    const outcome = this.outcome(work, withinMs);
    if (outcome instanceof Error) throw outcome;
    return outcome as T;
  }

  outcome(work: Promise<unknown>, withinMs = 120_000): unknown {
    let ended: { readonly outcome: unknown } | undefined;
    work.then(
      (outcome) => (ended = { outcome }),
      (error: unknown) => (ended = { outcome: error }),
    );
    this.time.runUntil(this.time.nowMs() + withinMs, () => ended !== undefined);
    if (ended === undefined) throw new Error("it has not ended");
    return ended.outcome;
  }

  pass(ms: number): void {
    this.time.runUntil(this.time.nowMs() + ms);
  }

  open(client: ModelClient = this.model.client(), role: "worker" | "main" = "worker"): StoreSession {
    return this.done(client.open(undefined, { role, consumerGroup: GROUP }));
  }

  commit(session: StoreSession, from: number, partition = 0): Promise<unknown> {
    const batch = batchFrom(from, [eventWithId(`event ${partition} ${from}`)], partition);
    return new Store(session, STORE_OPTIONS).commit(batch);
  }

  stored(partition = 0): number | undefined {
    return this.model.tables.offsets.rows().find((row) => row.partition === partition)?.nextOffset;
  }

  /** Locks partitions one after the other, a while between each two. */
  lockInTurn(session: StoreSession, partitions: readonly number[], gapMs: number): Promise<void> {
    return session.transaction(60_000, async (tx) => {
      for (const partition of partitions) {
        await fence(tx, session, countedSpans(batchFrom(0, ["x"], partition)), []);
        await new Promise<void>((resolve) => void this.time.after(gapMs, resolve));
      }
    });
  }
}
