import { expect, test } from "bun:test";
import type { RejectionReason } from "../../shared/event.ts";
import { EventReader } from "../../shared/pipeline/event-reader.ts";
import { isRejection } from "../../shared/pipeline/rejection.ts";
import { simulatedRecords } from "../../shared/producer/record-source.ts";
import { EventSimulator } from "../../shared/producer/simulator.ts";
import { INJECTED_EVERY, INVALID, REPEATED, withInjectedFaults } from "../../workers/demo/injected-faults.ts";

const DAY_MS = 86_400_000;
const THOUSANDS = 12;

test("one record of each thousand is invalid, one is repeated, and the others are valid", () => {
  const simulator = new EventSimulator({ userCount: 1000, minIntervalSeconds: 0, maxIntervalSeconds: 0 });
  const source = withInjectedFaults(simulatedRecords(simulator));
  const reader = new EventReader();
  const ids = new Map<string, string | undefined>();
  const reasons: RejectionReason[] = [];
  const repeatedKeys: boolean[] = [];
  for (let record = 0; record < THOUSANDS * INJECTED_EVERY; record++) {
    const { key, value, eventType } = source.next();
    const judged = reader.readValue(Buffer.from(value), Date.now(), DAY_MS);
    const isRejected = isRejection(judged);
    expect(isRejected).toBe(eventType === INVALID);
    if (isRejected) {
      reasons.push(judged.reason);
      continue;
    }
    expect(ids.has(judged.eventId)).toBe(eventType === REPEATED);
    if (eventType === REPEATED) repeatedKeys.push(ids.get(judged.eventId) === key);
    else expect(judged.eventType as string | undefined).toBe(eventType);
    ids.set(judged.eventId, key);
  }
  expect(reasons).toHaveLength(THOUSANDS);
  expect(new Set(reasons)).toEqual(
    new Set([
      "not_json",
      "missing_field",
      "future_timestamp",
      "invalid_timestamp",
      "not_utf8",
      "not_an_object",
    ]),
  );
  // With the same key both copies are in one partition; with another key they may be in two.
  expect(repeatedKeys).toHaveLength(THOUSANDS);
  expect(new Set(repeatedKeys)).toEqual(new Set([true, false]));
});
