// Proves that only sealed hours are pruned, that they do not change any more, and that the cut-off only rises.

import type { RawRow } from "../properties/fold.ts";
import {
  type Change,
  type HourRow,
  keyOf,
  type SealedHourRow,
  STATE_KEY,
  type Tables,
} from "./postgres/tables.ts";
import { expectSame, violated } from "./violations.ts";

const MICROS_PER_HOUR = 3_600_000_000n;
const HOUR_MS = 3_600_000;

export class RetentionOracle {
  #events = 0;
  #users = 0;

  /** Rows of raw_events and hourly_users that were pruned. */
  get events(): number {
    return this.#events;
  }

  get users(): number {
    return this.#users;
  }

  /** What one commit does to the cut-off, and to sealed hours. */
  check(tables: Tables, changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.table === "pipeline_state") {
        const [before = -Infinity, after = -Infinity] = [change.before?.cutoffMs, change.after.cutoffMs];
        if (after < before) violated("the cut-off goes back");
      } else if (change.table === "hourly_aggregations") {
        const sealed = tables.sealedHours.row(change.key);
        if (sealed !== undefined) expectSealed(change.after, sealed);
      } else if (change.table === "sealed_hours") {
        const { hour, eventType } = change.after;
        expectSealed(tables.hours.row(change.key), change.after);
        if (hour * HOUR_MS >= cutoffOf(tables)) violated(`${hour} ${eventType} is sealed above the cut-off`);
      } else if (change.table === "raw_events" && change.after === undefined) {
        const { timestamp, eventType, eventId } = change.before;
        const hour = Math.floor(Date.parse(timestamp) / HOUR_MS);
        if (!hasSeal(tables, hour, eventType))
          violated(`${eventId} is pruned from an hour that is not sealed`);
        this.#events++;
      } else if (change.table === "hourly_users" && change.after === undefined) {
        const { hour, eventType, userId } = change.before;
        if (!hasSeal(tables, hour, eventType))
          violated(`${userId} is pruned from an hour that is not sealed`);
        this.#users++;
      }
    }
  }

  isBelowCutoff(tables: Tables, { micros }: RawRow): boolean {
    return Number(micros / 1000n) < cutoffOf(tables);
  }

  isSealed(tables: Tables, { micros, type }: RawRow): boolean {
    return hasSeal(tables, Number(micros / MICROS_PER_HOUR), type);
  }

  checkSeals(tables: Tables): void {
    for (const sealed of tables.sealedHours.rows()) {
      expectSealed(tables.hours.row(keyOf(sealed.hour, sealed.eventType)), sealed);
    }
  }
}

function cutoffOf(tables: Tables): number {
  return tables.state.row(STATE_KEY)?.cutoffMs ?? -Infinity;
}

function hasSeal(tables: Tables, hour: number, eventType: string): boolean {
  return tables.sealedHours.row(keyOf(hour, eventType)) !== undefined;
}

function expectSealed(row: HourRow | undefined, sealed: SealedHourRow): void {
  const name = `${sealed.hour} ${sealed.eventType}, which is sealed`;
  expectSame(`events of ${name}`, row?.totalEvents, sealed.totalEvents);
  expectSame(`users of ${name}`, row?.uniqueUsers, sealed.uniqueUsers);
  expectSame(`duration of ${name}`, row?.totalDurationMs, sealed.totalDurationMs);
  expectSame(`late events of ${name}`, row?.lateEvents, sealed.lateEvents);
}
