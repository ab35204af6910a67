// Tests what a placement remembers between the answers of Kafka and the work that it offers.
import { describe, expect, test } from "bun:test";
import pino from "pino";
import { systemClock } from "../../shared/runtime/clock.ts";
import { ThreadRecorder } from "../../shared/telemetry/recorder.ts";
import { WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";
import { Assignment } from "../../workers/consumer/assignment.ts";
import type { LogSurvey } from "../../workers/consumer/log-survey.ts";
import { Placement } from "../../workers/consumer/placement.ts";
import type { DatabaseSession } from "../../workers/consumer/ports.ts";
import { Settlement } from "../../workers/consumer/settlement.ts";

const NOW_MS = 1_000_000;

/** A placement with one partition of topic `t`, whose id is known. */
function placementOfOne() {
  const assignment = new Assignment();
  assignment.assign(0, { topic: "t", partition: 0 });
  const owned = assignment.get(0)!;
  const kafka = { fetch: () => undefined, stop: () => undefined, slot: () => 0 };
  const surveys = { hurry: () => undefined };
  const telemetry = new WorkerTelemetry(new ThreadRecorder(), pino({ level: "silent" }));
  const intake = { holds: () => false };
  const settlement = new Settlement(
    { saveRawEvents: true },
    { kafka, assignment, intake, surveys, telemetry },
  );
  const placement = new Placement(kafka, assignment, settlement, surveys, systemClock, telemetry);
  const answer = (beginning?: number) => {
    const survey: LogSurvey = {
      topicIds: new Map([["t", "id"]]),
      unidentifiedTopics: [],
      beginnings: new Map(beginning === undefined ? [] : [[owned, beginning]]),
      ends: new Map(),
      fault: undefined,
    };
    placement.apply(survey);
  };
  answer();
  return { assignment, owned, placement, answer };
}

describe("a placement", () => {
  test("offers to end stuck peers until that is begun", async () => {
    const { placement } = placementOfOne();
    placement.suspectStuckPeers();
    expect(placement.next(NOW_MS)?.kind).toBe("ending_peers");
    // The worker may have chosen to commit first.
    const work = placement.next(NOW_MS);
    expect(work?.kind).toBe("ending_peers");
    const failure = new Error("permission denied");
    const session: Partial<DatabaseSession> = { endStuckPeers: () => Promise.reject(failure) };
    await expect(work!.run(session as DatabaseSession)).rejects.toThrow(failure);
    expect(placement.next(NOW_MS)?.kind).toBe("placing");
  });

  test("keeps the beginning of a log until the partition is placed", () => {
    const { owned, placement, answer } = placementOfOne();
    owned.state = { kind: "awaiting_offset", topicId: "id", row: { kind: "missing", beginning: undefined } };
    answer(7);
    // It was not asked for again.
    answer();
    expect(owned.state.row).toEqual({ kind: "missing", beginning: 7 });
    expect(placement.next(NOW_MS)?.kind).toBe("placing");
  });
});
