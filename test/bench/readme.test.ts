import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { isArgument, OPTIONS, USAGE } from "../../bench/command-line.ts";
import { SCENARIO_NAMES } from "../../bench/scenarios.ts";

const README = readFileSync(join(resolve(import.meta.dir, "../../bench"), "README.md"), "utf8");

describe("the README of the bench", () => {
  test("has each scenario in its table, with a link to its file", () => {
    const table = README.split("\n").filter((line) => line.startsWith("| ["));
    const linked = table.flatMap((row) => [...row.matchAll(/\[(\w+)\]\(scenarios\/\1\.ts\)/g)]);
    expect(linked.map(([, name]) => name!).toSorted()).toEqual(SCENARIO_NAMES.toSorted());
  });

  test("names each option, and --help explains it", () => {
    for (const option of Object.keys(OPTIONS)) {
      expect(README).toContain(`\`--${option}`);
      expect(USAGE).toMatch(new RegExp(`^  --${option}\\b`, "m"));
    }
  });

  test("shows only commands that the bench takes", () => {
    const commands = [...README.matchAll(/^bun run bench ?([^#\n]*)/gm)].map(([, words = ""]) =>
      words.trim(),
    );
    expect(commands.length).toBeGreaterThan(5);
    for (const word of commands.flatMap((command) => command.split(/\s+/).filter(Boolean))) {
      const isKnown = word.startsWith("--")
        ? word.slice(2) in OPTIONS
        : isArgument(word) || /^\d+$/.test(word);
      expect(isKnown ? "" : word).toBe("");
    }
  });
});

test("the help of the bench has no line above 120 characters", () => {
  expect(USAGE.split("\n").filter((line) => line.length > 120)).toEqual([]);
});
