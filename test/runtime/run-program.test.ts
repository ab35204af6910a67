import { describe, expect, test } from "bun:test";
import { eventually } from "../support/eventually.ts";

const MODULES = ["run-program", "errors"].map((name) =>
  JSON.stringify(import.meta.resolve(`../../shared/runtime/${name}.ts`)),
);
const USAGE = "Usage: program [--fast] [--seconds N] [red|green]\n";

interface TestProgram {
  args?: readonly string[];
  /** The source text of the crash handler. */
  onCrash?: string;
  /** A program that runs it. */
  command?: readonly string[];
}

/** Runs a program whose main has this body, in another process. */
function start(body: string, { args = [], onCrash = "undefined", command = [] }: TestProgram = {}) {
  const code = `
    const [{ runProgram }, { ConfigurationError, FatalError }] = await Promise.all([${MODULES.map((path) => `import(${path})`).join()}]);
    const settings = {
      usage: ${JSON.stringify(USAGE)},
      options: { fast: { type: "boolean" }, seconds: { type: "string" } },
      isArgument: (argument) => ["red", "green"].includes(argument),
      onCrash: ${onCrash},
    };
    await runProgram(settings, async (stop, options, args) => { ${body} });`;
  return Bun.spawn([...command, process.execPath, "-e", code, "--", ...args], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
  });
}

async function end(program: ReturnType<typeof start>) {
  const [stdout, stderr] = await Promise.all([program.stdout.text(), program.stderr.text()]);
  return { code: await program.exited, stdout, stderr };
}

/** Collects standard output. */
function outputOf(program: ReturnType<typeof start>) {
  const output = { text: "", has: (text: string) => output.text.includes(text), ended: Promise.resolve() };
  const collect = async () => {
    const decoder = new TextDecoder();
    for await (const chunk of program.stdout) output.text += decoder.decode(chunk, { stream: true });
  };
  output.ended = collect();
  return output;
}

describe("the command line", () => {
  const PRINT = "console.log(JSON.stringify({ ...options, args })); return 0;";

  test("gives main its options and arguments", async () => {
    expect(await end(start(PRINT))).toEqual({ code: 0, stdout: '{"args":[]}\n', stderr: "" });
    const { stdout } = await end(start(PRINT, { args: ["green", "--fast", "--seconds=3", "red"] }));
    expect(JSON.parse(stdout)).toEqual({ fast: true, seconds: "3", args: ["green", "red"] });
  });

  test.each(["--help", "-h"])("prints the usage for %s and exits with 0", async (help) => {
    expect(await end(start(PRINT, { args: [help] }))).toEqual({ code: 0, stdout: USAGE, stderr: "" });
  });

  test.each([
    { args: ["--slow"], reason: "--slow" },
    { args: ["blue"], reason: "'blue'" },
    { args: ["--seconds"], reason: "--seconds" },
    { args: ["--seconds", "--fast"], reason: "--seconds" },
    { args: ["--fast=1"], reason: "--fast" },
  ])("explains $args in one line above the usage and exits with 2", async ({ args, reason }) => {
    const { code, stdout, stderr } = await end(start(PRINT, { args }));
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    const [line, ...rest] = stderr.split("\n");
    expect(line).toContain(reason);
    expect(rest.join("\n")).toBe(`\n${USAGE}`);
  });
});

describe("the exit code", () => {
  test("is what main returns, although something keeps the event loop busy", async () => {
    const { code } = await end(start("setInterval(() => {}, 1000); return 7;"));
    expect(code).toBe(7);
  });

  test("is 2 after a wrong configuration, and each problem is printed", async () => {
    const { code, stderr } = await end(start('throw new ConfigurationError(["first", "second"]);'));
    expect({ code, stderr }).toEqual({ code: 2, stderr: "first\nsecond\n" });
  });

  test("is 1 after a fatal error, and its sentence is printed", async () => {
    const { code, stderr } = await end(start('throw new FatalError("no broker answers");'));
    expect({ code, stderr }).toEqual({ code: 1, stderr: "no broker answers\n" });
  });

  test("is 1 after any other error, and its stack is printed", async () => {
    const { code, stderr } = await end(start('throw new TypeError("a bug");'));
    expect(code).toBe(1);
    expect(stderr).toContain("TypeError: a bug\n    at ");
  });

  test("is 1 after a rejection that nothing handles", async () => {
    const { code, stderr } = await end(
      start('void Promise.reject(new Error("forgotten")); return await new Promise(() => {});'),
    );
    expect(code).toBe(1);
    expect(stderr).toContain("forgotten");
  });
});

describe("the crash handler", () => {
  const CRASH = 'void Promise.reject(new Error("forgotten")); return await new Promise(() => {});';

  test("runs to its end before the process exits", async () => {
    const { code, stdout, stderr } = await end(
      start('setTimeout(() => { throw new Error("a bug"); }, 1); return await new Promise(() => {});', {
        onCrash: 'async (error) => { await Bun.sleep(50); console.log("crashed:", error.message); }',
      }),
    );
    expect({ code, stdout }).toEqual({ code: 1, stdout: "crashed: a bug\n" });
    expect(stderr).toContain("Error: a bug\n    at ");
  });

  test("does not keep the process from exiting when it never ends", async () => {
    const { code } = await end(start(CRASH, { onCrash: "() => new Promise(() => {})" }));
    expect(code).toBe(1);
  });

  test("does not hide the error when it fails", async () => {
    const { code, stderr } = await end(start(CRASH, { onCrash: '() => Promise.reject(new Error("worse"))' }));
    expect(code).toBe(1);
    expect(stderr).toContain("forgotten");
  });
});

describe("a signal", () => {
  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
    "%s requests a stop, and main decides the exit code",
    async (signal) => {
      const program = start(
        'console.log("up"); const reason = await stop.requested; console.log("drained", reason); return 3;',
      );
      const output = outputOf(program);
      await eventually("the program runs", () => output.has("up"));
      program.kill(signal);
      expect(await program.exited).toBe(3);
      await output.ended;
      expect(output.text).toContain(`drained ${signal}`);
    },
  );

  test("forces exit code 1 when it is the second one, although main still drains", async () => {
    const program = start(
      'console.log("up"); await stop.requested; console.log("draining"); return await new Promise(() => {});',
    );
    const output = outputOf(program);
    await eventually("the program runs", () => output.has("up"));
    program.kill("SIGINT");
    await eventually("the program drains", () => output.has("draining"));
    await Bun.sleep(150); // a second signal within 100 ms counts as the first
    program.kill("SIGTERM");
    expect(await program.exited).toBe(1);
    expect(await program.stderr.text()).toContain("SIGTERM again");
  });

  test("SIGHUP drains, however often it comes", async () => {
    const program = start(
      'console.log("up"); await stop.requested; console.log("draining"); await Bun.stdin.text(); return 0;',
    );
    const output = outputOf(program);
    await eventually("the program runs", () => output.has("up"));
    program.kill("SIGHUP");
    await eventually("the program drains", () => output.has("draining"));
    program.kill("SIGHUP");
    await Bun.sleep(150); // a second signal within 100 ms counts as the first
    program.kill("SIGHUP");
    void program.stdin.end();
    expect(await program.exited).toBe(0);
  });

  test("SIGHUP is ignored under nohup", async () => {
    const program = start('console.log("up"); console.log("drained", await stop.requested); return 0;', {
      command: ["nohup"],
    });
    const output = outputOf(program);
    await eventually("the program runs", () => output.has("up"));
    program.kill("SIGHUP");
    program.kill("SIGTERM");
    expect(await program.exited).toBe(0);
    await output.ended;
    expect(output.text).toContain("drained SIGTERM");
  });

  test("counts as the same signal when it comes right after the first, as npx sends it", async () => {
    const program = start(
      'console.log("up"); await stop.requested; console.log("draining"); await Bun.sleep(500); return 0;',
    );
    const output = outputOf(program);
    await eventually("the program runs", () => output.has("up"));
    // A stopped process gets both signals at the same moment, when it continues.
    program.kill("SIGSTOP");
    await eventually("the program is stopped", () => stateOf(program.pid).startsWith("T"));
    program.kill("SIGINT");
    program.kill("SIGTERM"); // a different one, because two of the same may arrive as one
    program.kill("SIGCONT");
    expect(await program.exited).toBe(0);
    await output.ended;
    expect(output.text).toContain("draining");
  });
});

function stateOf(pid: number): string {
  return Bun.spawnSync(["ps", "-o", "state=", "-p", String(pid)]).stdout.toString();
}
