// Repeats the Store in short, with one rule broken on purpose that the property must notice.

import { aggregate } from "../../shared/pipeline/aggregate.ts";
import { KnownUsers } from "../../shared/pipeline/known-users.ts";
import type { Batch } from "../../shared/pipeline/batch.ts";
import type { Span } from "../../shared/pipeline/span.ts";
import { insertDeadLetters } from "../../shared/store/dead-letters.ts";
import { addToHours } from "../../shared/store/hourly.ts";
import { advance, fence } from "../../shared/store/offsets.ts";
import type { Session, Transaction } from "../../shared/store/session.ts";
import { insertByUnnest } from "../../shared/store/raw-events.ts";
import { findPoisonEvents } from "../../shared/store/poison-search.ts";
import { EMPTY_STATE, STORE_OPTIONS } from "../store/pipeline-database.ts";
import type { Committer } from "./simulated-worker.ts";

/** The rule that is broken. */
export type Mutation =
  | "none"
  /** Offsets move without a comparison. */
  | "no fence"
  /** Duplicates count in their hours. */
  | "duplicates count"
  /** A stored user counts as a new one. */
  | "users count again"
  | "dead letters are dropped";

export class MutantStore implements Committer {
  readonly #session: Session;
  readonly #mutation: Mutation;

  constructor(session: Session, mutation: Mutation) {
    this.#session = session;
    this.#mutation = mutation;
  }

  async commit(batch: Batch): Promise<void> {
    const { processedAtMs } = batch.clock;
    if (batch.events.length > 0) {
      const refused = await findPoisonEvents(this.#session, batch.events, processedAtMs);
      batch.refuse([...refused.keys()], (event) => refused.get(event)!);
    }
    const rows = batch.distinct();
    const events = batch.eventsOf(rows);
    const spans = [...batch.spans.values()];
    await this.#session.transaction(10_000, async (tx) => {
      if (this.#mutation !== "no fence") await fence(tx, this.#session, spans, []);
      const newIds = await insertByUnnest(tx, events, processedAtMs, false);
      const storedEvents = events.filter(({ event, span }) => {
        const isNew = newIds?.has(event.eventId) ?? true;
        if (!isNew) span.duplicates++;
        return isNew;
      });
      const stored = Int32Array.from(storedEvents, ({ row }) => row);
      const counted = this.#mutation === "duplicates count" ? rows : stored;
      const deltas = aggregate(batch.rows, counted, new KnownUsers(), {
        processedAtMs,
        hourGraceMs: STORE_OPTIONS.hourGraceMs,
        unsaved: false,
      });
      // The key of the dead letters would stop most repeated batches; this mutation is about the fence alone.
      if (this.#mutation === "no fence") await forgetDeadLetters(tx, spans);
      if (this.#mutation !== "dead letters are dropped")
        await insertDeadLetters(tx, batch.rejected.deadLetters(), batch.clock);
      await addToHours(tx, deltas);
      if (this.#mutation === "users count again")
        await tx`update hourly_aggregations set unique_users = unique_users + 1 where total_events > 3`;
      batch.countStored(stored);
      if (this.#mutation === "no fence") await advanceBlindly(tx, spans);
      else await advance(tx, spans, EMPTY_STATE);
    });
  }
}

async function forgetDeadLetters(tx: Transaction, spans: readonly Span[]): Promise<void> {
  for (const { partition, from, to } of spans) {
    await tx`delete from dead_letter_events where partition = ${partition} and "offset" >= ${from} and "offset" < ${to}`;
  }
}

async function advanceBlindly(tx: Transaction, spans: readonly Span[]): Promise<void> {
  for (const span of spans) {
    await tx`
      update pipeline_offsets set next_offset = ${span.to}, consumed = consumed + ${span.consumed},
        gaps = gaps + ${span.gaps}, stored = stored + ${span.stored},
        duplicates = duplicates + ${span.duplicates}, dead_lettered = dead_lettered + ${span.deadLettered}
      where partition = ${span.partition}`;
  }
}
