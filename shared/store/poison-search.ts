// Events of which PostgreSQL refuses some; those out, each with the server's reason.

import type { PipelineEvent } from "../event.ts";
import type { BatchEvent } from "../pipeline/batch.ts";
import type { Session, Transaction } from "./session.ts";
import { insertByUnnest } from "./raw-events.ts";
import { classify, describeFault, SchemaFault } from "./sqlstate.ts";

const DEADLINE_MS = 60_000;

/** Thrown inside a savepoint so that what passed is rolled back as well. */
class RollbackProbe extends Error {
  override readonly name = "RollbackProbe";
}

/**
 * Finds the events whose content the raw insert refuses, by bisection, each try in a savepoint that is
 * rolled back. An event is to blame only if another one passes the same statement: an event of our own, as
 * large as events may be, is tried first, and where it is refused too, the fault is the schema's.
 *
 * @returns the refused events with the server's reason; empty where no single event is refused
 * @throws SchemaFault where even our own event is refused; the server's error where anything but content is at fault
 */
export async function findPoisonEvents(
  session: Session,
  events: readonly BatchEvent[],
  processedAtMs: number,
): Promise<Map<BatchEvent, string>> {
  const refused = new Map<BatchEvent, string>();
  // The whole transaction ends in a rollback: it only asks.
  await session
    .transaction(DEADLINE_MS, async (tx) => {
      const probe = await tryInsert(tx, [makeProbe(events[0]!, processedAtMs)], processedAtMs);
      if (probe !== undefined) {
        if (classify(probe) !== "content") throw probe;
        throw new SchemaFault(`raw_events refuses what every event may hold: ${describeFault(probe)}`, {
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

/** Of each text the longest that validate takes, in characters that only Unicode has: a narrowed column refuses it. */
const WIDE = "\u{1f600}";

/** An event with an id that no other has, and otherwise the widest there may be. */
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
