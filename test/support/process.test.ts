import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePorts } from "../../shared/runtime/free-port.ts";
import { eventually } from "./eventually.ts";
import { isRunning, Program } from "./process.ts";
import { rejection } from "./rejection.ts";

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "event-pipeline-program-"));
});

afterAll(() => rm(directory, { recursive: true, force: true }));

async function script(source: string): Promise<string> {
  const path = join(directory, `${crypto.randomUUID()}.ts`);
  await Bun.write(path, source);
  return path;
}

describe("Program", () => {
  test("returns the exit code and all output", async () => {
    await using program = Program.start(
      await script(`console.log("out", process.argv.slice(2)); console.error("err"); process.exitCode = 3;`),
      { args: ["--flag"] },
    );
    expect(await program.exit()).toBe(3);
    expect(program.stdout).toContain('out [ "--flag" ]');
    expect(program.stderr).toContain("err");
  });

  test("returns 128 plus the number of the signal that ended it", async () => {
    await using program = Program.start(await script(`await Bun.sleep(60_000)`));
    program.signal("SIGKILL");
    expect(await program.exit()).toBe(137);
  });

  test("passes on its input and only the given environment", async () => {
    process.env["KAFKA_TOPIC"] = "not for the program";
    try {
      await using program = Program.start(
        await script(`console.log(process.env.KAFKA_TOPIC, process.env.GIVEN, await Bun.stdin.text())`),
        { input: "from outside", env: { GIVEN: "yes" } },
      );
      expect(await program.exit()).toBe(0);
      expect(program.stdout).toBe("undefined yes from outside\n");
    } finally {
      delete process.env["KAFKA_TOPIC"];
    }
  });

  test("waits until the output matches", async () => {
    await using program = Program.start(
      await script(`setTimeout(() => console.error("listening on 4711"), 50); await Bun.sleep(60_000)`),
    );
    expect((await program.printed(/listening on (\d+)/))[1]).toBe("4711");
    expect(program.running).toBe(true);
  });

  test("finds output of a program that has ended", async () => {
    await using program = Program.start(await script(`console.log("last words")`));
    await program.exit();
    expect(await program.printed(/last words/)).toHaveLength(1);
  });

  test("reports the output when the program ends first or prints nothing in time", async () => {
    await using ended = Program.start(await script(`console.log("something else")`));
    expect((await rejection(ended.printed(/never/))).message).toMatch(
      /the program ended without printing \/never\/[^]*something else/,
    );
    await using silent = Program.start(await script(`await Bun.sleep(60_000)`));
    expect((await rejection(silent.printed(/never/, 100))).message).toContain("not within 100 ms");
    expect((await rejection(silent.exit(100))).message).toContain("not within 100 ms: the program has ended");
  });

  test("waits for a value in its metrics", async () => {
    const [port] = await freePorts(1);
    await using program = Program.start(
      await script(`
        let scrapes = 0;
        Bun.serve({ port: ${port}, hostname: "127.0.0.1", fetch: () => new Response("scrapes_total " + ++scrapes + "\\n") });`),
    );
    const scrape = await program.metrics(port!, "a third scrape", (now) => now.value("scrapes_total")! >= 3);
    expect(scrape.value("scrapes_total")).toBeGreaterThanOrEqual(3);
    expect((await rejection(program.metrics(port!, "the impossible", () => false, 200))).message).toContain(
      "not within 200 ms: metrics: the impossible",
    );
    program.signal("SIGKILL");
    expect((await rejection(program.metrics(port!, "an answer", () => true))).message).toContain(
      "the program ended before: an answer",
    );
  });

  test("is killed when it is disposed, even when it is frozen", async () => {
    let pid: number;
    {
      await using program = Program.start(
        await script(`process.on("SIGTERM", () => {}); await Bun.sleep(60_000)`),
      );
      pid = program.pid;
      program.signal("SIGSTOP");
    }
    expect(isRunning(pid)).toBe(false);
  });

  test("is killed when the process that started it is killed", async () => {
    const inner = await script(`await Bun.sleep(60_000)`);
    const outer = Bun.spawn(
      [
        process.execPath,
        "-e",
        `const { Program } = await import(${JSON.stringify(import.meta.resolve("./process.ts"))});
         console.log(Program.start(${JSON.stringify(inner)}).pid); await Bun.sleep(60_000);`,
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    const pid = Number(new TextDecoder().decode((await outer.stdout.getReader().read()).value));
    expect(isRunning(pid)).toBe(true);
    outer.kill("SIGKILL");
    await eventually("the program has ended", () => !isRunning(pid));
  });
});
