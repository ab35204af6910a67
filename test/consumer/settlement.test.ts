// Tests where a partition is read on whose log does not hold the stored offset, or was cut.
import { describe, expect, test } from "bun:test";
import pino from "pino";
import type { FetchStart } from "../../shared/kafka/consumer.ts";
import type { LogTruncation } from "../../shared/kafka/log-truncation.ts";
import { ThreadRecorder } from "../../shared/telemetry/recorder.ts";
import { WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";
import { Assignment } from "../../workers/consumer/assignment.ts";
import { ResyncNeeded } from "../../workers/consumer/failure.ts";
import type { DatabaseSession } from "../../workers/consumer/ports.ts";
import { Settlement } from "../../workers/consumer/settlement.ts";
import { rejection } from "../support/rejection.ts";

const PLACE = { topic: "t", partition: 0 };
const STORED = 100;

/** A partition that is stored up to 100 in epoch 3, is fetched, and is out of range now. */
function outOfRange(truncation?: LogTruncation, answers: Partial<DatabaseSession> = {}, hasStoredIds = true) {
  const assignment = new Assignment();
  assignment.assign(0, PLACE);
  const owned = assignment.get(0)!;
  assignment.startFetchingAt(owned, { topicId: "id", reading: 2, stored: STORED, leaderEpoch: 3 });
  const fetched: FetchStart[] = [];
  const changes: string[] = [];
  const kafka = {
    fetch: (starts: readonly FetchStart[]) => fetched.push(...starts),
    stop: () => undefined,
    slot: () => 0,
  };
  const intake = { isHolding: false, holds: () => intake.isHolding };
  const recorder = new ThreadRecorder();
  const telemetry = new WorkerTelemetry(recorder, pino({ level: "silent" }));
  const surveys = { hurry: () => undefined };
  const settlement = new Settlement(
    { saveRawEvents: hasStoredIds },
    { kafka, assignment, intake, surveys, telemetry },
  );
  settlement.onOutOfRange(PLACE, truncation);
  const session: Partial<DatabaseSession> = {
    skipGap: (from, to) => {
      changes.push(`skip ${from.nextOffset} to ${to} of reading ${from.reading}`);
      return Promise.resolve(true);
    },
    startReading: (from, at, leaderEpoch) => {
      const epoch = leaderEpoch === undefined ? "" : ` of epoch ${leaderEpoch}`;
      changes.push(`leave reading ${from.reading} at ${from.nextOffset}, read from ${at}${epoch}`);
      return Promise.resolve({ ...from, reading: from.reading + 1, nextOffset: at });
    },
    ...answers,
  };
  /** Takes the bounds of the log and settles. */
  const settle = async (beginning: number, end: number) => {
    settlement.apply(owned, beginning, end);
    const apply = await settlement.next()!.run(session as DatabaseSession);
    apply();
    return { changes, fetched, state: owned.state };
  };
  return { assignment, settlement, intake, owned, settle, recorder };
}

describe("a partition whose offset is not in its log", () => {
  test("goes on at the start of the log, and what was deleted is skipped", async () => {
    const { changes, fetched, state } = await outOfRange().settle(120, 200);
    expect(changes).toEqual(["skip 100 to 120 of reading 2"]);
    expect(fetched).toEqual([{ ...PLACE, offset: 120, leaderEpoch: undefined }]);
    expect(state).toMatchObject({ kind: "fetching", reading: 2, stored: 120, next: 120 });
  });

  test("goes on at its offset where the log holds it after all", async () => {
    const { changes, fetched } = await outOfRange().settle(0, 100);
    expect(changes).toEqual([]);
    expect(fetched).toEqual([{ ...PLACE, offset: 100, leaderEpoch: 3 }]);
  });

  test("is read again from the beginning where the log is shorter, and it is not known where it was cut", async () => {
    const { changes, fetched, state } = await outOfRange().settle(10, 60);
    expect(changes).toEqual(["leave reading 2 at 100, read from 10"]);
    expect(fetched).toEqual([{ ...PLACE, offset: 10, leaderEpoch: undefined }]);
    expect(state).toMatchObject({ kind: "fetching", reading: 3, stored: 10, next: 10 });
  });

  test("waits until its records that were read are stored", async () => {
    const { settlement, intake, owned, settle } = outOfRange();
    intake.isHolding = true;
    settlement.apply(owned, 120, 200);
    expect(settlement.next()).toBeUndefined();
    intake.isHolding = false;
    expect((await settle(120, 200)).changes).toHaveLength(1);
  });

  test("is read again under all the offsets where another worker has moved it", async () => {
    const { settle, owned } = outOfRange(undefined, { skipGap: () => Promise.resolve(false) });
    expect(await rejection(settle(120, 200))).toBeInstanceOf(ResyncNeeded);
    expect(owned.state.kind).toBe("out_of_range");
  });

  test("is left alone where it was revoked meanwhile", async () => {
    const trial = outOfRange();
    trial.assignment.revoke(0);
    trial.assignment.assign(0, PLACE);
    trial.settlement.onOutOfRange(PLACE, undefined);
    expect(trial.assignment.get(0)!.state.kind).toBe("awaiting_offset");
  });
});

describe("a partition that is revoked while its gap is skipped", () => {
  test("is fetched no more, and the gap counts all the same", async () => {
    const trial = outOfRange(undefined, {
      skipGap: () => {
        trial.assignment.revoke(0);
        return Promise.resolve(true);
      },
    });
    const { fetched } = await trial.settle(120, 200);
    expect(fetched).toEqual([]);
    expect(trial.recorder.take()?.counters).toEqual([["deleted_offsets_total", ["t"], 20]]);
  });
});

describe("a partition whose log was cut", () => {
  const cutAt = (end: number | undefined, readEpoch = 3): LogTruncation => ({
    readEpoch,
    end,
    endEpoch: end === undefined ? undefined : 2,
  });

  test("is read again from the cut, also where the log has grown past its offset", async () => {
    const { changes, fetched, state } = await outOfRange(cutAt(60)).settle(10, 500);
    expect(changes).toEqual(["leave reading 2 at 100, read from 60 of epoch 2"]);
    expect(state).toMatchObject({ kind: "fetching", reading: 3, stored: 60 });
    // By the epoch a log that is cut once more is noticed.
    expect(fetched).toEqual([{ ...PLACE, offset: 60, leaderEpoch: 2 }]);
  });

  test("is read again from the beginning where the leader does not know the epoch", async () => {
    const { changes } = await outOfRange(cutAt(undefined)).settle(10, 500);
    expect(changes).toEqual(["leave reading 2 at 100, read from 10"]);
  });

  test("gets another account at its offset where nothing below it is left to be read again", async () => {
    const { changes, fetched } = await outOfRange(cutAt(undefined)).settle(120, 500);
    expect(changes).toEqual(["leave reading 2 at 100, read from 100"]);
    // The leader would report the same again.
    expect(fetched).toEqual([{ ...PLACE, offset: 100, leaderEpoch: undefined }]);
  });

  test("is read on, under another account, where nothing would keep out what is stored", async () => {
    const settle = (truncation: LogTruncation | undefined, end: number) =>
      outOfRange(truncation, {}, false).settle(10, end);
    expect((await settle(undefined, 60)).changes).toEqual(["leave reading 2 at 100, read from 60"]);
    expect((await settle(cutAt(undefined), 60)).changes).toEqual(["leave reading 2 at 100, read from 60"]);
    expect((await settle(cutAt(undefined), 500)).changes).toEqual(["leave reading 2 at 100, read from 100"]);
    expect((await settle(cutAt(60), 500)).changes).toEqual([
      "leave reading 2 at 100, read from 60 of epoch 2",
    ]);
  });

  test("goes on at its offset where only records beyond it were cut, which were not stored", async () => {
    const { changes, fetched } = await outOfRange(cutAt(110, 4)).settle(10, 500);
    expect(changes).toEqual([]);
    expect(fetched).toEqual([{ ...PLACE, offset: 100, leaderEpoch: 3 }]);
  });

  test.each([
    ["of what a leader before the stored records had written", cutAt(60, 2)],
    ["by a leader that did not know an epoch other than the stored one", cutAt(undefined, 7)],
  ])("goes on at its offset where the report is late, %s", async (_what, truncation) => {
    const { changes, fetched } = await outOfRange(truncation).settle(10, 500);
    expect(changes).toEqual([]);
    expect(fetched).toEqual([{ ...PLACE, offset: 100, leaderEpoch: 3 }]);
  });

  test("goes by the epoch of the records that are stored after the report", async () => {
    const { assignment, settle } = outOfRange(cutAt(110, 4));
    const span = { ...PLACE, topicId: "id", reading: 2, from: STORED, to: 120, leaderEpoch: 4 };
    assignment.markCommitted(0, {
      ...span,
      consumed: 20,
      gaps: 0,
      stored: 20,
      duplicates: 0,
      deadLettered: 0,
      bytes: 0,
    });
    expect((await settle(10, 500)).changes).toEqual(["leave reading 2 at 120, read from 110 of epoch 2"]);
  });

  test("is read again under all the offsets where another worker has moved it", async () => {
    const { settle } = outOfRange(cutAt(60), { startReading: () => Promise.resolve(undefined) });
    expect(await rejection(settle(10, 500))).toBeInstanceOf(ResyncNeeded);
  });
});
