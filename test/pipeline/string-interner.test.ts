import { expect, test } from "bun:test";
import fc from "fast-check";
import { StringInterner } from "../../shared/pipeline/string-interner.ts";

test("a string interner returns the string of the bytes when all strings share one place", () => {
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

test("a string interner tells strings of different lengths apart", () => {
  const strings = new StringInterner(1);
  for (const each of ["aa", "a", "aaa", "ab", "aa", ""]) {
    expect(strings.get(Buffer.from(each), 0, each.length)).toBe(each);
  }
});
