// Tests that each fault of the list can be planted in the sources as they are.
import { describe, expect, test } from "bun:test";
import { join, resolve } from "node:path";
import { type Edit, MUTANT_NAMES, MUTANTS } from "./mutants.ts";
import { mutated } from "./mutated-copy.ts";

const ROOT = resolve(import.meta.dir, "../..");

test.each(MUTANT_NAMES)("the fault '%s' can be planted", async (name) => {
  for (const edit of MUTANTS[name]) {
    const source = await Bun.file(join(ROOT, edit.file)).text();
    expect(mutated(source, edit)).not.toBe(source);
  }
});

describe("an edit", () => {
  const edit: Edit = { file: "a.ts", text: "one", replacement: "two" };

  test("replaces its text, and nothing that the replacement says", () => {
    expect(mutated("1 one 3", { ...edit, replacement: "$& $1" })).toBe("1 $& $1 3");
  });

  test("is refused where its text is missing or stands there twice", () => {
    expect(() => mutated("1 two 3", edit)).toThrow("a.ts says 0 times, not once: one");
    expect(() => mutated("one one", edit)).toThrow("a.ts says 2 times, not once: one");
  });
});
