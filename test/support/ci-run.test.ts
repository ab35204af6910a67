import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const CI_RUN = resolve(import.meta.dir, "../../.ci/run");

let stand_ins: string;

beforeAll(async () => {
  stand_ins = await mkdtemp(join(tmpdir(), "event-pipeline-ci-"));
});

afterAll(() => rm(stand_ins, { recursive: true, force: true }));

const script = (body: string) => `#!/usr/bin/env bash\n${body}\n`;

/** Runs .ci/run with a stand-in for npx, which says what was called, and then does as the test tells it. */
async function ciRun({
  tests,
  demo,
  installed = "install ok installed",
  apt = "exit 1",
}: Record<"tests" | "demo", string> & { installed?: string; apt?: string }) {
  const files = {
    npx: script(
      `echo "CI=$CI npx $*"\ncase "$*" in\n*"run test") ${tests} ;;\n*"run demo --seconds 20 --rate 2000") ${demo} ;;\n*) exit 99 ;;\nesac`,
    ),
    "dpkg-query": script(`echo "${installed}"`),
    id: script("echo 0"),
    "apt-get": script(`echo "apt-get $*"\n${apt}`),
  };
  for (const [name, text] of Object.entries(files)) {
    await Bun.write(join(stand_ins, name), text);
    await chmod(join(stand_ins, name), 0o755);
  }
  const run = Bun.spawn([CI_RUN], {
    env: { ...process.env, PATH: `${stand_ins}:${process.env["PATH"]}`, CI: "" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = `${await run.stdout.text()}${await run.stderr.text()}`;
  return { exitCode: await run.exited, output, lastLine: output.trimEnd().split("\n").at(-1) };
}

test("all is well: the count of the tests and the demo, and exit code 0", async () => {
  const { exitCode, output, lastLine } = await ciRun({ tests: "echo '41 passed, 0 failed'", demo: "true" });
  expect(lastLine).toBe("42 passed, 0 failed");
  expect(exitCode).toBe(0);
  expect(output).toContain("CI=true npx -y bun@1.4.5 run test\n");
});

test("system packages that are missing are installed; where that fails, the tests tell", async () => {
  const well = { tests: "echo '41 passed, 0 failed'", demo: "true" };
  const installing = await ciRun({ ...well, installed: "unknown", apt: "exit 0" });
  expect(installing.output).toMatch(/apt-get install .*libssl-dev .*prometheus chromium .*docker-compose\n/);
  expect(installing.exitCode).toBe(0);
  const failing = await ciRun({ ...well, installed: "unknown", apt: "exit 1" });
  expect(failing.output).toContain("could not install libssl-dev");
  expect(failing.lastLine).toBe("42 passed, 0 failed");
  const nothing = await ciRun(well);
  expect(nothing.output).not.toContain("apt-get");
});

test("failed tests are counted, and the demo still runs", async () => {
  const { exitCode, lastLine } = await ciRun({
    tests: "echo '40 passed, 2 failed'; echo 'error: script exited' >&2; exit 1",
    demo: "true",
  });
  expect(lastLine).toBe("41 passed, 2 failed");
  expect(exitCode).toBe(1);
});

test("a failed demo is a failure", async () => {
  const { exitCode, lastLine, output } = await ciRun({ tests: "echo '41 passed, 0 failed'", demo: "exit 1" });
  expect(lastLine).toBe("41 passed, 1 failed");
  expect(exitCode).toBe(1);
  expect(output).toContain("the demo ended with exit code 1");
});

test.each([
  ["die without a word", "exit 139", 1],
  ["die after some words", "echo '12 passed, 0 failed'; echo crash; exit 1", 1],
  ["end well without a count", "echo done", 1],
  ["fail though their count says nothing of it", "echo '12 passed, 0 failed'; exit 1", 1],
])("tests that %s are a failure", async (_, tests, failures) => {
  const { exitCode, lastLine } = await ciRun({ tests, demo: "true" });
  expect(lastLine).toEndWith(`passed, ${failures} failed`);
  expect(exitCode).toBe(1);
});
