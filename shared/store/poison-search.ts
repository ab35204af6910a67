// Finds the events of a batch that PostgreSQL refuses, each with the server's reason.

import type { PipelineEvent } from "../event.ts";
import type { BatchEvent } from "../pipeline/batch.ts";
import type { StoreSession, Transaction } from "./session.ts";
import { insertByUnnest } from "./raw-events.ts";
import { classify, describeFault, SchemaFault } from "./sqlstate.ts";

const DEADLINE_MS = 60_000;

/** Thrown inside a savepoint to roll back an insert that passed. */
class RollbackProbe extends Error {
  override readonly name = "RollbackProbe";
}

/**
 * Finds the events whose content the raw insert refuses, by bisection; each try runs in a savepoint that is rolled
 * back. An event counts as refused only if another event passes the same statement: a probe event as wide as events
 * may be is tried first, and if PostgreSQL refuses the probe, the fault lies in the schema.
 *
 * @returns the refused events with the server's reason; empty where no single event is refused
 * @throws SchemaFault where the probe is refused; the server's error where it is not about content
 */
export async function findPoisonEvents(
  session: Pick<StoreSession, "transaction">,
  events: readonly BatchEvent[],
  processedAtMs: number,
): Promise<Map<BatchEvent, string>> {
  const refused = new Map<BatchEvent, string>();
  // The transaction always ends in a rollback: it only tests.
  await session
    .transaction(DEADLINE_MS, async (tx) => {
      const probe = await tryInsert(tx, [makeProbe(events[0]!, processedAtMs)], processedAtMs);
      if (probe !== undefined) {
        if (classify(probe) !== "content") throw probe;
        throw new SchemaFault(`raw_events refuses an event that is valid: ${describeFault(probe)}`, {
          cause: probe,
        });
      }
      await bisect(tx, events, processedAtMs, refused);
      throw new RollbackProbe("done");
    })
    .catch((error: unknown) => {
      if (!(error instanceof RollbackProbe)) throw error;
    });
  return refused;
}

async function bisect(
  tx: Transaction,
  events: readonly BatchEvent[],
  processedAtMs: number,
  refused: Map<BatchEvent, string>,
): Promise<void> {
  const error = await tryInsert(tx, events, processedAtMs);
  if (error === undefined) return;
  if (classify(error) !== "content") throw error;
  const [only] = events;
  if (events.length === 1 && only !== undefined) {
    refused.set(only, describeFault(error));
    return;
  }
  const middle = events.length >> 1;
  await bisect(tx, events.slice(0, middle), processedAtMs, refused);
  await bisect(tx, events.slice(middle), processedAtMs, refused);
}

/** @returns the server's error, or undefined where the events pass */
async function tryInsert(
  tx: Transaction,
  events: readonly BatchEvent[],
  processedAtMs: number,
): Promise<unknown> {
  try {
    await tx.savepoint(async (savepoint) => {
      await insertByUnnest(savepoint, events, processedAtMs, false);
      throw new RollbackProbe("done");
    });
    return undefined;
  } catch (error) {
    return error instanceof RollbackProbe ? undefined : error;
  }
}

/** Four bytes in UTF-8: a narrowed column, or one of another encoding, refuses the probe. */
const WIDE = "\u{1f600}";

/** An event with a unique id, and with every field as long as `validate` allows. */
function makeProbe(like: BatchEvent, processedAtMs: number): BatchEvent {
  const uniqueId = `probe_${crypto.randomUUID()}`;
  const event: PipelineEvent = {
    eventId: uniqueId + WIDE.repeat(100 - uniqueId.length),
    userId: WIDE.repeat(100),
    eventType: WIDE.repeat(50),
    timestampMs: processedAtMs,
    timestampMicros: 0,
    eventDataText: `{"probe":"${WIDE}"}`,
    purchaseAmount: undefined,
    durationMs: 1e12,
  };
  return { event, span: like.span, offset: like.offset, record: like.record, refusal: undefined };
}
