import { describe, expect, test } from "bun:test";
import { formatTable } from "../../shared/text/table.ts";

describe("a text table", () => {
  test("aligns numbers right and text left, and counts wide characters twice", () => {
    expect(
      formatTable(
        ["name", "count"],
        [
          ["a", 1],
          ["日本", 1_234],
          [null, undefined],
        ],
      ),
    ).toEqual(["  name  count", "  a         1", "  日本  1,234", ""]);
  });

  test("cuts text that is too long", () => {
    const [, line] = formatTable(["id"], [["x".repeat(100)]]);
    expect(line).toBe(`  ${"x".repeat(47)}…`);
  });

  test("shows characters that would steer the terminal by their codes", () => {
    expect(formatTable(["id"], [["a\u001b[31m\n"]])[1]).toBe(String.raw`  a\u{1b}[31m\u{a}`);
  });
});
