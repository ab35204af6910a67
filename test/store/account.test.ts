// Tests that a batch whose counts do not add up is refused before its offsets advance.
import { describe, expect, test } from "bun:test";
import type { Span } from "../../shared/pipeline/span.ts";
import { InvariantViolated } from "../../shared/runtime/errors.ts";
import { assertAccounted } from "../../shared/store/account.ts";
import { classifyFailure } from "../../workers/consumer/failure.ts";
import { eventText } from "../pipeline/record.ts";
import { batchFrom, countedSpans, everything, expectProven, freshStore } from "./pipeline-database.ts";

const VALUES = [
  eventText({ event_id: "a" }),
  eventText({ event_id: "b" }),
  eventText({ event_id: "a" }),
  "{",
];

function span(changes: Partial<Span> = {}): Span {
  return { ...countedSpans(batchFrom(10, VALUES))[0]!, ...changes };
}

describe("the account of a span", () => {
  test("adds up for a batch with events, a duplicate and a dead letter", () => {
    expect(span()).toMatchObject({ consumed: 4, gaps: 0, stored: 2, duplicates: 1, deadLettered: 1 });
    expect(() => assertAccounted(span())).not.toThrow();
  });

  test.each<[what: string, Partial<Span>, message: string]>([
    [
      "an offset that is neither a record nor a gap",
      { to: 15 },
      "user-events[0]: the batch from 10 to 15 has 5 offsets, but counts 4 records + 0 gaps",
    ],
    ["a gap that is not there", { gaps: 1 }, "has 4 offsets, but counts 4 records + 1 gaps"],
    ["a record too many", { consumed: 5 }, "has 4 offsets, but counts 5 records + 0 gaps"],
    [
      "a record that is neither stored nor a duplicate nor a dead letter",
      { stored: 1 },
      "has 4 records, but counts 1 stored + 1 duplicates + 1 dead letters",
    ],
    ["a record that has two outcomes", { duplicates: 2 }, "counts 2 stored + 2 duplicates + 1 dead letters"],
  ])("does not add up with %s", (_what, changes, message) => {
    expect(() => assertAccounted(span(changes))).toThrow(message);
  });

  test("stops the transaction of a batch that has lost a record, and the worker reads it again", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    const before = await everything(database);
    const batch = batchFrom(0, VALUES);
    // A fault between the record and the store.
    batch.rows.count--;
    const error: unknown = await worker.store.commit(batch).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(InvariantViolated);
    expect(classifyFailure(error)).toEqual({
      kind: "resync",
      cause: "invariant",
      message:
        "user-events[0]: the batch from 0 to 4 has 4 records, but counts 2 stored + 0 duplicates + 1 dead letters",
    });
    expect(await everything(database)).toEqual(before);
    await worker.store.commit(batchFrom(0, VALUES));
    await expectProven(database);
  });
});
