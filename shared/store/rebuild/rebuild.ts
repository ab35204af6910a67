// Recomputes the hours and their users from raw_events, slice by slice, and mends those that differ.

import { FatalError } from "../../runtime/errors.ts";
import { count } from "../../text/format.ts";
import { assertTables } from "../check/overview.ts";
import { assertRights } from "../rights.ts";
import { readPipelineState } from "../pipeline-state.ts";
import { type RawAccount, withoutRawRow } from "../raw-account.ts";
import { RETENTION_LOCK } from "../retention/retention-lock.ts";
import type { Session, Transaction } from "../session.ts";
import { inSnapshot } from "../snapshot.ts";
import { classify } from "../sqlstate.ts";
import { compareHours, compareUsers, type DifferingHour, type Evidence, isMendable } from "./compare.ts";
import { mendHours, mendUsers } from "./mend.ts";
import { ALL_HOURS, type HourRange, planSlices, type Slice } from "./slices.ts";

/** An arbitrary number, the same in every version: a program holds this lock while it rebuilds. */
const ADVISORY_LOCK = 7_061_906;
/** Rows of one transaction: a consumer that needs one of them waits for milliseconds. */
const HOURS_AT_ONCE = 200;
const USERS_AT_ONCE = 2000;
/** A slice is compared again until it is right: what was changed by hand meanwhile is mended with it. */
const MAX_ROUNDS = 3;
const TRANSACTION_DEADLINE_MS = 60_000;
const MAX_ATTEMPTS = 3;

export interface RebuildProgress {
  readonly slices: number;
  readonly slicesDone: number;
  /** Rows of raw_events. */
  readonly events: number;
  readonly eventsDone: number;
}

export interface RebuildOptions {
  readonly range: HourRange;
  readonly hourGraceSeconds: number;
  readonly sliceEvents?: number;
  /** Takes the hours that differ, slice by slice, before they are mended. */
  readonly onDiffering: (hours: readonly DifferingHour[]) => void;
  readonly onProgress: (progress: RebuildProgress) => void;
}

export interface RebuildResult {
  readonly account: RawAccount;
  readonly evidence: Evidence;
  /** ISO 8601, UTC: earlier hours are past their retention, and were left as they are. */
  readonly sealedBefore: string | undefined;
  /** Hours and types that still differ after they were mended. */
  readonly unmended: readonly DifferingHour[];
}

/**
 * Every slice is compared in one snapshot. The differences are added in short transactions while consumers go on; killed
 * at any moment, it leaves hours that are mended and hours that are not.
 *
 * @param reader compares
 * @param writer mends; undefined: nothing is changed
 * @throws FatalError where another rebuild runs, or nothing can be recomputed
 */
export async function rebuild(
  reader: Session,
  writer: Session | undefined,
  options: RebuildOptions,
): Promise<RebuildResult> {
  if (writer !== undefined) await lock(writer);
  const { account, slices, sealedBefore } = await inSnapshot(reader.sql, async (tx) => {
    await assertTables(tx);
    await assertRights(
      tx,
      writer === undefined ? ["SELECT"] : ["SELECT", "INSERT", "UPDATE", "DELETE"],
      HOUR_TABLES,
    );
    const { cutoffMs } = await readPipelineState(tx);
    const sealed = cutoffMs === undefined ? undefined : new Date(cutoffMs).toISOString();
    return {
      ...(await planSlices(tx, recomputable(options.range, sealed), options.sliceEvents)),
      sealedBefore: sealed,
    };
  });
  const evidence = evidenceOf(account, options.hourGraceSeconds);
  const events = slices.reduce((sum, slice) => sum + slice.events, 0);
  const unmended: DifferingHour[] = [];
  let eventsDone = 0;
  for (const [index, slice] of slices.entries()) {
    const progress = { slices: slices.length, events };
    options.onProgress({ ...progress, slicesDone: index, eventsDone });
    unmended.push(...(await rebuildSlice(reader, writer, slice, account, evidence, options.onDiffering)));
    eventsDone += slice.events;
    options.onProgress({ ...progress, slicesDone: index + 1, eventsDone });
  }
  return { account, evidence, unmended, sealedBefore };
}

const HOUR_TABLES = ["raw_events", "hourly_aggregations", "hourly_users", "pipeline_offsets"];

/**
 * The part of a range that is not past its retention.
 * @throws FatalError where hours are named that are
 */
function recomputable(range: HourRange, sealedBefore: string | undefined): HourRange {
  if (sealedBefore === undefined || range.from >= sealedBefore) return range;
  const isNamed = range.from !== ALL_HOURS.from || (range.to !== ALL_HOURS.to && range.to <= sealedBefore);
  if (!isNamed) return { ...range, from: sealedBefore };
  throw new FatalError(
    `the hours before ${sealedBefore} are past their retention and keep the figures that they were sealed with, because their raw events are deleted: leave them out, with --hours ${sealedBefore.slice(0, 13)}..`,
  );
}

/** The locks end with the session. No hour is sealed while it holds them: a difference would break the seal. */
async function lock(writer: Session): Promise<void> {
  const [row] = await writer.run(
    (sql) => sql<[{ locked: boolean }]>`select pg_try_advisory_lock(${ADVISORY_LOCK}::bigint) as locked`,
  );
  if (!row.locked)
    throw new FatalError("another rebuild of this database is running: wait until it has ended");
  // A step of the retention holds it for some milliseconds.
  await writer.run((sql) => sql`select pg_advisory_lock(${RETENTION_LOCK}::bigint)`);
}

/** @throws FatalError where no stored event has a raw row */
function evidenceOf(account: RawAccount, hourGraceSeconds: number): Evidence {
  const { stored, rows, unsaved } = account;
  const withoutRow = withoutRawRow(account);
  if (rows === 0 && withoutRow > 0) {
    throw new FatalError(
      `raw_events is empty and ${count(stored)} events are stored (SAVE_RAW_EVENTS=false, or the rows were deleted): the hours cannot be recomputed`,
    );
  }
  return {
    hasUnsaved: withoutRow > 0,
    mayLower: withoutRow === 0 || withoutRow === unsaved,
    hourGraceSeconds,
  };
}

/** One that loses against a consumer, or waits too long for one that stands still, is tried again. */
async function mend(writer: Session, body: (tx: Transaction) => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await writer.transaction(TRANSACTION_DEADLINE_MS, body);
    } catch (error) {
      const kind = classify(error);
      if ((kind !== "transient" && kind !== "blocked") || attempt === MAX_ATTEMPTS) throw error;
    }
  }
}

/** @returns the hours that still differ */
async function rebuildSlice(
  reader: Session,
  writer: Session | undefined,
  slice: Slice,
  account: RawAccount,
  evidence: Evidence,
  onDiffering: RebuildOptions["onDiffering"],
): Promise<DifferingHour[]> {
  for (let round = 1; ; round++) {
    const mendable = await inSnapshot(reader.sql, async (tx) => {
      if (!evidence.hasUnsaved) {
        const [now] = await tx<[{ unsaved: number }]>`
          select coalesce(sum(unsaved_events), 0)::bigint as unsaved from hourly_aggregations`;
        if (now.unsaved > account.unsaved) {
          throw new FatalError(
            "a consumer stores events without raw rows (SAVE_RAW_EVENTS=false) meanwhile: stopped",
          );
        }
      }
      const differing = await compareHours(tx, slice, evidence);
      if (round === 1 && differing.length > 0) onDiffering(differing);
      const found = differing.filter(isMendable);
      if (writer === undefined || round > MAX_ROUNDS) return found;
      for (let at = 0; at < found.length; at += HOURS_AT_ONCE) {
        const hours = found.slice(at, at + HOURS_AT_ONCE);
        await mend(writer, (write) => mendHours(write, hours));
      }
      const mendsUsers = found.some((hour) => hour.missing_users > 0 || hour.extra_users > 0);
      if (mendsUsers) {
        const removable = new Set(found.filter((hour) => hour.extra_users > 0).map(keyOf));
        for await (const users of compareUsers(tx, slice, USERS_AT_ONCE)) {
          const wrong = users.filter((user) => !user.is_extra || removable.has(keyOf(user)));
          await mend(writer, (write) => mendUsers(write, wrong));
        }
      }
      return found;
    });
    if (mendable.length === 0 || writer === undefined) return [];
    if (round > MAX_ROUNDS) return mendable;
  }
}

function keyOf({ hour, event_type }: Pick<DifferingHour, "hour" | "event_type">): string {
  return `${hour} ${event_type}`;
}
