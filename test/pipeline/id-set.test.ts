import { expect, test } from "bun:test";
import fc from "fast-check";
import { IdSet } from "../../shared/pipeline/id-set.ts";

/** Adds ids from one buffer. @returns for each whether it was there before */
function addAll(set: IdSet, ids: readonly string[]): boolean[] {
  const bytes = Buffer.from(ids.join(""));
  let at = 0;
  return ids.map((id) => {
    const start = at;
    at += Buffer.byteLength(id);
    return set.add(bytes, start, at);
  });
}

test("an id is found when it was added before, and no other is", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ maxLength: 3, unit: "grapheme" }), { maxLength: 200 }), (ids) => {
      const set = new IdSet(200);
      const expected = ids.map((id, index) => ids.indexOf(id) < index);
      expect(addAll(set, ids)).toEqual(expected);
      set.clear();
      expect(addAll(set, ids)).toEqual(expected);
    }),
  );
});

test("as many ids as there is room for are told apart", () => {
  const ids = Array.from({ length: 5000 }, (_, i) => `event_${i}`);
  const set = new IdSet(10_000);
  const repeated = addAll(set, [...ids, ...ids.toReversed()]);
  expect([repeated.indexOf(true), repeated.lastIndexOf(false)]).toEqual([5000, 4999]);
});
