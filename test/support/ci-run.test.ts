import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const CI_RUN = resolve(import.meta.dir, "../../.ci/run");
const COUNTED = "echo '41 passed, 0 failed'";

let standIns: string;

beforeAll(async () => {
  standIns = await mkdtemp(join(tmpdir(), "event-pipeline-ci-"));
});

afterAll(() => rm(standIns, { recursive: true, force: true }));

const script = (body: string) => `#!/usr/bin/env bash\n${body}\n`;

/** Runs .ci/run with stand-ins for the programs it calls; that of npx prints its arguments, then runs the given text. */
async function ciRun({
  tests = COUNTED,
  variant = "echo TEST_POSTGRES=$TEST_POSTGRES; echo '10 passed, 0 failed'",
  long = COUNTED,
  simulation = "echo 'ok: all histories hold'",
  chaos = "true",
  demo = "true",
  installed = "install ok installed",
  apt = "exit 1",
}: Partial<
  Record<"tests" | "variant" | "long" | "simulation" | "chaos" | "demo" | "installed" | "apt", string>
>) {
  const files = {
    npx: script(
      `echo "CI=$CI npx $*"\ncase "$*" in\n*"run test") ${tests} ;;\n*"run test test/store"*) ${variant} ;;\n*"run test:long") ${long} ;;\n*"run simulate --histories 10000") ${simulation} ;;\n*"run chaos --seconds 60") ${chaos} ;;\n*"run demo --seconds 20 --rate 2000") ${demo} ;;\n*) exit 99 ;;\nesac`,
    ),
    "dpkg-query": script(`echo "${installed}"`),
    id: script("echo 0"),
    "apt-get": script(`echo "apt-get $*"\n${apt}`),
  };
  for (const [name, text] of Object.entries(files)) {
    await Bun.write(join(standIns, name), text);
    await chmod(join(standIns, name), 0o755);
  }
  const run = Bun.spawn([CI_RUN], {
    env: { ...process.env, PATH: `${standIns}:${process.env["PATH"]}`, CI: "" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = `${await run.stdout.text()}${await run.stderr.text()}`;
  return { exitCode: await run.exited, output, lastLine: output.trimEnd().split("\n").at(-1) };
}

describe(".ci/run", () => {
  test("adds up the tests, the long tests, the simulations, the chaos runs and the demo, and exits with 0 when all passed", async () => {
    const { exitCode, output, lastLine } = await ciRun({});
    expect(lastLine).toBe("118 passed, 0 failed");
    expect(exitCode).toBe(0);
    expect(output).toContain("CI=true npx -y bun@1.4.5 run test\n");
    expect(output.match(/TEST_POSTGRES=\S+(?=\n)/g)).toEqual([
      "TEST_POSTGRES=15,pgbouncer",
      "TEST_POSTGRES=16,tls",
      "TEST_POSTGRES=17,dml",
    ]);
    expect(output).toContain("CI=true npx -y bun@1.4.5 run test:long\n");
    expect(output.split("CI=true npx -y bun@1.4.5 run simulate --histories 10000\n")).toHaveLength(3);
    expect(output.split("CI=true npx -y bun@1.4.5 run chaos --seconds 60\n")).toHaveLength(4);
  });

  test("installs the system packages that are missing, and continues when that fails", async () => {
    const installing = await ciRun({ installed: "unknown", apt: "exit 0" });
    expect(installing.output).toMatch(
      /apt-get install .*libssl-dev .*prometheus chromium .*docker-compose\n/,
    );
    expect(installing.exitCode).toBe(0);
    const failing = await ciRun({ installed: "unknown", apt: "exit 1" });
    expect(failing.output).toContain("could not install libssl-dev");
    expect(failing.lastLine).toBe("118 passed, 0 failed");
    const complete = await ciRun({});
    expect(complete.output).not.toContain("apt-get");
  });

  test("counts failed tests, and still runs the rest", async () => {
    const { exitCode, lastLine, output } = await ciRun({
      tests:
        "seq 200; echo 'test a: not what was expected'; echo '40 passed, 2 failed'; echo 'error: script exited' >&2; exit 1",
      long: "echo '5 passed, 1 failed'; exit 1",
    });
    expect(lastLine).toBe("81 passed, 3 failed");
    expect(exitCode).toBe(1);
    // What failed stands once more at the end, and only its end.
    const [, ...atTheEnd] = output.split("===== failed: ");
    expect(atTheEnd).toHaveLength(2);
    expect(atTheEnd[0]).toMatch(/^npx -y bun@\S+ run test\n/);
    expect(atTheEnd[0]).toContain("test a: not what was expected\n");
    expect(atTheEnd[0]).not.toContain("\n100\n");
  });

  test("counts a failed demo as a failure, and each failed chaos run", async () => {
    const demo = await ciRun({ demo: "exit 1" });
    expect([demo.lastLine, demo.exitCode]).toEqual(["117 passed, 1 failed", 1]);
    expect(demo.output).toContain("run demo --seconds 20 --rate 2000' ended with exit code 1");
    const chaos = await ciRun({ chaos: "echo 'WRONG  raw_events lacks: chaos_5'; exit 1" });
    expect([chaos.lastLine, chaos.exitCode]).toEqual(["115 passed, 3 failed", 1]);
    expect(chaos.output.match(/raw_events lacks: chaos_5/g)).toHaveLength(6);
  });

  test("counts each simulation that failed, and shows its seeds", async () => {
    const { lastLine, exitCode, output } = await ciRun({
      // Both begin before either ends.
      simulation: `touch "$0.simulates.$$"; until [ "$(ls "$0".simulates.* | wc -l)" -eq 2 ]; do sleep 0.01; done; echo 'failed with the seeds 5, 7'; exit 1`,
    });
    expect([lastLine, exitCode]).toEqual(["116 passed, 2 failed", 1]);
    expect(output.split("failed with the seeds 5, 7\n")).toHaveLength(5);
  });

  test.each([
    ["end with an error and no output", "exit 139"],
    ["end with an error after a count of none failed", "echo '12 passed, 0 failed'; echo crash; exit 1"],
    ["end with 0 and no count", "echo done"],
  ])("counts tests that %s as a failure", async (_, tests) => {
    for (const part of [{ tests }, { long: tests }]) {
      const { exitCode, lastLine } = await ciRun(part);
      expect(lastLine).toEndWith("passed, 1 failed");
      expect(exitCode).toBe(1);
    }
  });
});
