// Performs an operation by the functions of the store, and says what came of it in words that can be compared.

import type { DeadLetter, HourDelta } from "../../../../shared/event.ts";
import { HOUR_MS } from "../../../../shared/pipeline/aggregate.ts";
import type { Batch } from "../../../../shared/pipeline/batch.ts";
import type { Span } from "../../../../shared/pipeline/span.ts";
import { makeRejection } from "../../../../shared/pipeline/rejection.ts";
import { codeOf, errorMessage } from "../../../../shared/runtime/errors.ts";
import { insertDeadLetters } from "../../../../shared/store/dead-letters.ts";
import { addToHours, closeHours } from "../../../../shared/store/hourly.ts";
import { advance, fence, skipGap, type StoredOffset } from "../../../../shared/store/offsets.ts";
import { enterPartitions, readPositions } from "../../../../shared/store/positions.ts";
import { insertBy, insertByUnnest } from "../../../../shared/store/raw-events.ts";
import { readPipelineState } from "../../../../shared/store/pipeline-state.ts";
import { currentReadings, startReading } from "../../../../shared/store/readings.ts";
import { raiseCutoffs, sealHours } from "../../../../shared/store/retention/cutoff.ts";
import type { SessionTransaction, StoreSession } from "../../../../shared/store/session.ts";
import type { Store } from "../../../../shared/store/store.ts";
import { batchOf, CLOCK, eventText, eventTextWith, NOW_MS } from "../../../pipeline/record.ts";
import { REFUSED_DATA } from "../../../support/refused-content.ts";
import { countedSpans, partitionKey } from "../../../store/pipeline-database.ts";
import { type EventsOf, type LoneStep, PARTITIONS, type TransactionStep } from "./operation.ts";

/** Where a partition is, as far as it is committed. */
export type PositionOf = (partition: number) => StoredOffset;

const HOURS = [Math.floor(NOW_MS / HOUR_MS) - 1000, Math.floor(NOW_MS / HOUR_MS)];
const TYPES = ["page_view", 'a "type"'];

/** Closes the first of the two hours. */
const graceMinutes = () => (Date.now() - (NOW_MS - 500 * HOUR_MS)) / 60_000;
/** Their cut-off is between the two hours. */
const retentionDays = () => graceMinutes() / (24 * 60);

/** A batch of one partition with these events, and a record that is none. */
function batchWith({ ids, hasRefused }: EventsOf, { partition, reading, nextOffset }: StoredOffset): Batch {
  const values = ids.map((id) =>
    eventText({
      event_id: `event ${id} "\\"`,
      user_id: `user ${id % 3}`,
      event_type: TYPES[id % 2]!,
      timestamp: new Date(HOURS[id % 2]! * HOUR_MS + id * 1000).toISOString(),
      event_data: { page: "/é", amount: id },
      ...(id === 1 ? {} : { duration_seconds: id / 4 }),
    }),
  );
  if (hasRefused) values.splice(1, 0, eventTextWith(REFUSED_DATA, { event_id: `refused ${ids[0]}` }));
  return batchOf(
    [...values, "not JSON"].map((value, index) => ({ offset: nextOffset + index * 2, value, key: "key" })),
    [{ ...partitionKey(partition), reading, from: nextOffset }],
  );
}

function stale(offset: StoredOffset, isStale: boolean): StoredOffset {
  return isStale ? { ...offset, nextOffset: offset.nextOffset - 1 } : offset;
}

function spanOf({ nextOffset, ...key }: StoredOffset, by: number): Span {
  const [span] = countedSpans(
    batchOf(
      Array.from({ length: by }, (_, index) => ({ offset: nextOffset + index, value: "not JSON" })),
      [{ ...key, from: nextOffset }],
    ),
  );
  return { ...span!, leaderEpoch: by === 1 ? undefined : by };
}

function describeIds(newIds: ReadonlySet<string> | undefined): readonly string[] | "all" {
  return newIds === undefined ? "all" : [...newIds];
}

/** @throws what the store throws */
export async function performInTransaction(
  tx: SessionTransaction,
  session: StoreSession,
  step: Exclude<TransactionStep, { kind: "commit" | "rollback" }>,
  positionOf: PositionOf,
): Promise<unknown> {
  switch (step.kind) {
    case "fence": {
      const offsets = step.partitions.map((partition) => stale(positionOf(partition), step.isStale));
      return await fence(
        tx,
        session,
        offsets.map((offset) => spanOf(offset, 1)),
        [positionOf(0)],
      );
    }
    case "lock readings":
      return await currentReadings(tx, step.partitions.map(partitionKey), "for update of o");
    case "copy":
    case "look up and copy":
    case "insert": {
      const batch = batchWith(step, positionOf(0));
      const inserted = await insertBy(step.kind, tx, batch, batch.distinct());
      return batch.eventsOf(inserted).map(({ event }) => event.eventId);
    }
    case "probe": {
      const batch = batchWith(step, positionOf(0));
      const events = batch.eventsOf(batch.distinct());
      let found: unknown;
      await tx
        .savepoint(async (savepoint) => {
          found = describeIds(await insertByUnnest(savepoint, events, NOW_MS, false));
          throw new RolledBack("probed");
        })
        .catch((error: unknown) => {
          if (!(error instanceof RolledBack)) throw error;
        });
      return found;
    }
    case "dead letter":
      return await insertDeadLetters(tx, [letterOf(positionOf(step.partition), step.offset)], CLOCK);
    case "hours":
      return await addToHours(tx, step.deltas.map(deltaOf));
    case "advance": {
      const span = spanOf(stale(positionOf(step.partition), step.isStale), step.by);
      return await advance(tx, [span], await readPipelineState(tx));
    }
    case "raise cut-off":
      return await raiseCutoffs(tx, { rawEvents: retentionDays(), hourlyUsers: retentionDays() });
    case "seal hours":
      return await sealHours(tx, 1);
  }
}

/** @throws what the store throws */
export async function performAlone(
  session: StoreSession,
  store: Store,
  step: LoneStep,
  positionOf: PositionOf,
): Promise<unknown> {
  switch (step.kind) {
    case "enter": {
      const starts = step.partitions.map((partition) => ({ ...partitionKey(partition), nextOffset: 7 }));
      return await session.run((sql) => enterPartitions(sql, starts));
    }
    case "read positions":
      return await session.run((sql) => readPositions(sql, PARTITIONS.map(partitionKey)));
    case "skip": {
      const from = stale(positionOf(step.partition), step.isStale);
      return await session.run((sql) => skipGap(sql, from, from.nextOffset + step.by));
    }
    case "read again": {
      const from = stale(positionOf(step.partition), step.isStale);
      return await session.run((sql) =>
        startReading(sql, from, Math.max(0, from.nextOffset - 3), from.nextOffset % 2 === 0 ? undefined : 7),
      );
    }
    case "close hours":
      return await session.run((sql) => closeHours(sql, graceMinutes()));
    case "store": {
      const batch = batchWith(step, stale(positionOf(step.partition), step.isStale));
      const report = await store.commit(batch);
      return {
        stored: batch.eventsOf(report.stored).map(({ event }) => event.eventId),
        createdHours: report.createdHours,
        newUsers: report.newUsers,
        copyFailed: report.copyFailed,
      };
    }
  }
}

function deltaOf({ hour, type, users }: { hour: number; type: number; users: readonly number[] }): HourDelta {
  return {
    hour: HOURS[hour]!,
    eventType: TYPES[type]!,
    totalEvents: 3,
    totalDurationMs: 10_000_000_000_000_000n + BigInt(type),
    durationCount: 2,
    lateEvents: hour,
    unsavedEvents: type,
    newUserCandidates: users.map((user) => `user ${user}`),
  };
}

function letterOf({ topic, topicId, partition, reading }: StoredOffset, offset: number): DeadLetter {
  return {
    topic,
    topicId,
    partition,
    reading,
    offset,
    key: undefined,
    keyBytes: undefined,
    value: Uint8Array.of(0, 255, 34),
    valueBytes: offset % 2 === 0 ? 5_000_000_000 : undefined,
    valueSha256: offset % 2 === 0 ? Uint8Array.of(1, 2, 255) : undefined,
    headers: undefined,
    headersBytes: undefined,
    rejection: makeRejection("decode", "not_json", 'it is "not" JSON, \\'),
  };
}

/** Ends a transaction, or a savepoint, by a rollback. */
export class RolledBack extends Error {
  override readonly name = "RolledBack";
}

/** An error as both sides must agree on it: the server's words are not compared, those of the store are. */
export function describeError(error: unknown): string {
  const code = codeOf(error);
  if (code !== undefined) return `error ${code}`;
  return error instanceof Error ? `${error.name}: ${error.message}` : errorMessage(error);
}
