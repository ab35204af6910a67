// Proves single rows of the tables: accounts, events and hours.

import type { RawRow } from "../properties/fold.ts";
import type { ExpectedHour } from "./expected-hours.ts";
import type { HourRow, OffsetRow, RawEventRow } from "./postgres/tables.ts";
import { expectSame, violated } from "./violations.ts";

export function expectAccount(row: OffsetRow): void {
  const name = `${row.topicId}[${row.partition}]`;
  expectSame(`account of ${name}`, row.consumed + row.deleted + row.gaps, row.nextOffset - row.firstOffset);
  expectSame(`records of ${name}`, row.stored + row.duplicates + row.deadLettered, row.consumed);
}

export function expectRawRow(row: RawEventRow | undefined, expected: RawRow | undefined): void {
  if (row === undefined) violated(`the event ${expected?.id} is not stored`);
  if (expected === undefined) violated(`the event ${row.eventId} is stored without its record`);
  const { id, user, type, micros, durationMs, data } = expected;
  expectSame("event_id", row.eventId, id);
  expectSame(`user_id of ${id}`, row.userId, user);
  expectSame(`event_type of ${id}`, row.eventType, type);
  expectSame(`timestamp of ${id}`, microsOf(row.timestamp), micros);
  expectSame(
    `duration of ${id}`,
    row.durationSeconds ?? null,
    durationMs === null ? null : durationMs / 1000,
  );
  expectSame(`event_data of ${id}`, JSON.stringify(JSON.parse(row.eventDataText)), JSON.stringify(data));
}

export function expectHourRow(
  row: HourRow,
  expected: ExpectedHour | undefined,
  saveRawEvents: boolean,
): void {
  const name = `hour ${row.hour} of ${row.eventType}`;
  expectSame(`events of ${name}`, row.totalEvents, expected?.events ?? 0);
  expectSame(`users of ${name}`, row.uniqueUsers, expected?.users.size ?? 0);
  expectSame(`durations of ${name}`, row.durationCount, expected?.durations ?? 0);
  expectSame(`duration of ${name}`, row.totalDurationMs, expected?.durationMs ?? 0n);
  expectSame(`unsaved events of ${name}`, row.unsavedEvents, saveRawEvents ? 0 : row.totalEvents);
}

/** @param timestamp as `formatTimestamp` writes it */
function microsOf(timestamp: string): bigint {
  const micros = /\.\d{3}(\d{3})/.exec(timestamp)?.[1] ?? "0";
  return BigInt(Date.parse(timestamp.replace(/(\.\d{3})\d*/, "$1"))) * 1000n + BigInt(micros);
}

export function hex(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? "null" : Buffer.from(bytes).toString("hex");
}
