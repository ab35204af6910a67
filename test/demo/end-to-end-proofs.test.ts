import { describe, expect, test } from "bun:test";
import { type EndToEndFigures, proveEndToEnd } from "../../workers/demo/end-to-end-proofs.ts";

const GOOD: EndToEndFigures = {
  acknowledged: 3000,
  undelivered: 0,
  inLog: 3000,
  consumed: 3000,
  duplicates: 3,
  deadLettered: 2,
  invalid: 2,
  repeated: 3,
};

/** The names of the proofs that are false. */
function wrong(changes: Partial<EndToEndFigures>): string[] {
  return proveEndToEnd({ ...GOOD, ...changes }).flatMap(({ name, ok }) => (ok ? [] : [name]));
}

test("a good run is proven with its figures", () => {
  expect(proveEndToEnd(GOOD)).toEqual([
    {
      name: "acknowledged_is_consumed",
      ok: true,
      detail: "3,000 records acknowledged by the broker, 3,000 in its log, 3,000 consumed",
    },
    {
      name: "injected_faults_found",
      ok: true,
      detail: "2 invalid records injected, 2 dead letters; 3 repeated events injected, 3 duplicates",
    },
  ]);
});

describe("the end-to-end proofs", () => {
  test.each([
    ["a record that was lost", { consumed: 2999 }],
    ["a record consumed twice", { consumed: 3001 }],
    ["a record that the broker lost", { inLog: 2999 }],
    ["a record that was acknowledged and is in the log twice", { inLog: 3001, consumed: 3001 }],
    ["a record that was not acknowledged", { undelivered: 1 }],
  ] satisfies [string, Partial<EndToEndFigures>][])("find %s", (_, changes) => {
    expect(wrong(changes)).toEqual(["acknowledged_is_consumed"]);
  });

  test.each([
    ["an invalid record that was stored", { deadLettered: 1 }],
    ["a valid record among the dead letters", { deadLettered: 3 }],
    ["a duplicate that was counted as an event", { duplicates: 2 }],
    ["an event that was counted as a duplicate", { duplicates: 4 }],
  ] satisfies [string, Partial<EndToEndFigures>][])("find %s", (_, changes) => {
    expect(wrong(changes)).toEqual(["injected_faults_found"]);
  });
});
