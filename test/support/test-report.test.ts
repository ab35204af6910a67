import { describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { failureExcerpts, readTestReport } from "./test-report.ts";

/** Runs a test file for real, so that what is read is what this Bun writes. */
async function reportOf(source: string) {
  const directory = await mkdtemp(join(tmpdir(), "event-pipeline-report-"));
  try {
    await Bun.write(
      join(directory, "a.test.ts"),
      `import { describe, expect, test } from "bun:test";\n${source}`,
    );
    const junit = join(directory, "report.xml");
    const command = [
      process.execPath,
      "test",
      "--reporter=junit",
      `--reporter-outfile=${junit}`,
      "./a.test.ts",
    ];
    const run = Bun.spawn(command, { cwd: directory, stdio: ["ignore", "ignore", "ignore"] });
    const exitCode = await run.exited;
    const text = (await Bun.file(junit).exists()) ? await Bun.file(junit).text() : undefined;
    return readTestReport(text, exitCode);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

test("a report counts passed, failed and skipped tests, with the names of the skipped", async () => {
  const report = await reportOf(`
    test("passes", () => {});
    describe("nested <&>", () => {
      test("passes too", () => {});
      test("fails", () => expect("<testcase>").toBe("<skipped />"));
      test.skip('skipped [skipped, needs "it" & <more>]', () => {});
    });`);
  expect(report).toEqual({
    passed: 2,
    failed: 1,
    failures: ["fails"],
    skipped: ['skipped [skipped, needs "it" & <more>]'],
  });
});

test("a file that does not load is a failure", async () => {
  expect(await reportOf(`throw new Error("at load");`)).toEqual({
    passed: 0,
    failed: 1,
    failures: [],
    skipped: [],
  });
});

test("a process that crashes is a failure", async () => {
  const report = await reportOf(`test("crashes", () => process.kill(process.pid, "SIGSEGV"));`);
  expect(report).toEqual({ passed: 0, failed: 1, failures: [], skipped: [] });
});

test("a file whose tests all pass, but whose process fails, is a failure", () => {
  const junit = '<testsuites name="bun test" tests="3" assertions="3" failures="0" skipped="0" time="1">';
  expect(readTestReport(junit, 0)).toEqual({ passed: 3, failed: 0, failures: [], skipped: [] });
  expect(readTestReport(junit, 1)).toEqual({ passed: 3, failed: 1, failures: [], skipped: [] });
});

describe("excerpts of failures", () => {
  test("hold the last lines that a failed test printed, and none of the others", () => {
    const noise = Array.from({ length: 100 }, (_, line) => `noise ${line}`);
    const output = [
      "start",
      "(pass) a [1ms]",
      "printed by b",
      "error: 1",
      "(fail) b [2ms]",
      ...noise,
      "(pass) c",
      "printed by d",
      "(fail) d",
      "",
      "2 tests failed:",
      "(fail) b [2ms]",
      "(fail) d",
      "",
      " 2 pass",
    ];
    expect(failureExcerpts(output.join("\n")).split("\n")).toEqual([
      "printed by b",
      "error: 1",
      "(fail) b [2ms]",
      "printed by d",
      "(fail) d",
    ]);
  });

  test("are the end of the output where no test is to blame", () => {
    const output = Array.from({ length: 100 }, (_, line) => `line ${line}`).join("\n");
    expect(failureExcerpts(`${output}\n`).split("\n")).toEqual(output.split("\n").slice(-30));
  });
});
