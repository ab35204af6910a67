import { expect, test } from "bun:test";
import fc from "fast-check";
import { StringInterner } from "../../shared/pipeline/string-interner.ts";

test("gives the string of the bytes, whatever came before, in a place that all share", () => {
  const strings = new StringInterner(1);
  const text = fc.oneof(
    fc.string({ unit: "binary" }).filter((candidate) => candidate.isWellFormed()),
    fc.string({ unit: "grapheme-ascii", maxLength: 3 }),
    fc.constantFrom("", "user_1", "user_2", "usér_1", "\u0000", "\u0080"),
  );
  fc.assert(
    fc.property(fc.array(text, { minLength: 1, maxLength: 20 }), (texts) => {
      for (const each of [...texts, ...texts]) {
        const bytes = Buffer.from(`"${each}"`);
        expect(strings.get(bytes, 1, bytes.length - 1)).toBe(each);
      }
    }),
    { numRuns: 500 },
  );
});

test("a string that is longer or shorter than the one of its place is another one", () => {
  const strings = new StringInterner(1);
  for (const each of ["aa", "a", "aaa", "ab", "aa", ""]) {
    expect(strings.get(Buffer.from(each), 0, each.length)).toBe(each);
  }
});
