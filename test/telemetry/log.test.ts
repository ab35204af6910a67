import { expect, test } from "bun:test";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Writable } from "node:stream";
import { makeLogger, terminalLines } from "../../shared/telemetry/log.ts";
import { RateLimitedLog } from "../../shared/telemetry/rate-limited-log.ts";
import { printable } from "../../shared/text/format.ts";
import { eventually } from "../support/eventually.ts";

const LOG = JSON.stringify(resolve(import.meta.dir, "../../shared/telemetry/log.ts"));

function parsed(line: string): Record<string, unknown> {
  return JSON.parse(line);
}

function collect() {
  const lines: Record<string, unknown>[] = [];
  const destination = {
    write(text: string) {
      for (const line of text.trim().split("\n")) lines.push(parsed(line));
    },
  };
  return { lines, destination };
}

test("a log line is JSON with level, time, program and the given fields", () => {
  const { lines, destination } = collect();
  const log = makeLogger("consumer", "info", { destination, bindings: { worker: 3 } });
  log.debug("below the level");
  log.warn({ topic: "t", partition: 1 }, "paused");
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatchObject({
    level: "warn",
    name: "consumer",
    worker: 3,
    topic: "t",
    partition: 1,
    msg: "paused",
  });
  expect(lines[0]?.["time"]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
});

test("the log of an error holds its message and not what drivers attach to it", () => {
  const { lines, destination } = collect();
  const error = Object.assign(new Error("refused", { cause: new Error("inner") }), {
    code: "23505",
    detail: "Key (event_id)=(secret-payload) already exists.",
    parameters: ["secret-payload"],
  });
  makeLogger("x", "info", { destination }).error({ err: error }, "failed");
  expect(JSON.stringify(lines)).not.toContain("secret-payload");
  expect(lines[0]?.["err"]).toMatchObject({
    type: "Error",
    message: "refused",
    code: "23505",
    cause: { message: "inner" },
  });
});

test("the log keeps all lines of main and worker threads whole when the process exits at once", async () => {
  const folder = mkdtempSync(join(tmpdir(), "pipeline-log-"));
  const filler = '"x".repeat(200)';
  writeFileSync(
    join(folder, "worker.ts"),
    `import { makeLogger } from ${LOG};
     const log = makeLogger("p", "info", { bindings: { worker: 1 } });
     for (let n = 0; n < 500; n++) log.info({ n, filler: ${filler} }, "line");
     postMessage("done");`,
  );
  writeFileSync(
    join(folder, "main.ts"),
    `import { makeLogger } from ${LOG};
     const log = makeLogger("p", "info");
     const worker = new Worker(new URL("worker.ts", import.meta.url));
     const done = new Promise((resolve) => { worker.onmessage = resolve; });
     for (let n = 0; n < 500; n++) log.info({ n, filler: ${filler} }, "line");
     await done;
     log.info("last");
     process.exit(0);`,
  );
  const program = Bun.spawn([process.execPath, join(folder, "main.ts")], { stdout: "pipe" });
  const lines = (await program.stdout.text()).trim().split("\n");
  const messages = lines.map(parsed);
  expect(messages).toHaveLength(1001);
  expect(messages.filter((message) => message["worker"] === 1)).toHaveLength(500);
  expect(messages.at(-1)?.["msg"]).toBe("last");
});

test("a readable line holds no character that acts on the terminal, and stays one line", async () => {
  const written: string[] = [];
  const output = new Writable({
    write(chunk, _, done) {
      written.push(String(chunk));
      done();
    },
  });
  const log = makeLogger("x", "info", { destination: terminalLines(output) });
  const hostile = "\u001b]0;owned\u0007\n[00:00:00.000] ERROR: forged\u009b31m\u202e";
  log.warn({ reason: hostile, err: new Error(hostile) }, hostile);
  await eventually("it is written", () => written.join("").includes("log.test.ts"));
  const text = Bun.stripANSI(written.join(""));
  expect(printable(text, "\n")).toBe(text);
  expect(text).not.toMatch(/^\[00:00:00/m);
  expect(text).toContain("\\u{1b}]0;owned");
});

test("the rate-limited log writes the first occurrence at once and later ones with their count", () => {
  const { lines, destination } = collect();
  let now = 0;
  const rateLimited = new RateLimitedLog(makeLogger("x", "info", { destination }), () => now);
  for (let n = 0; n < 1000; n++) rateLimited.warn("not delivered", { code: 10 });
  expect(lines).toHaveLength(1);
  now = 10_000;
  rateLimited.warn("not delivered", { code: 10 }, 5);
  expect(lines.at(-1)).toMatchObject({ count: 1004, code: 10, msg: "not delivered" });
  rateLimited.warn("not delivered", { code: 10 });
  rateLimited.flush();
  rateLimited.flush();
  expect(lines.map(({ count }) => count)).toEqual([1, 1004, 1]);
});

test("the rate-limited log limits the lines of any number of different texts", () => {
  const { lines, destination } = collect();
  const rateLimited = new RateLimitedLog(makeLogger("x", "info", { destination }), () => 0);
  for (let n = 0; n < 1000; n++) rateLimited.warn(`trouble ${n}`);
  expect(lines.length).toBeLessThanOrEqual(51);
});

test("the rate-limited log counts by key, and writes the end of a burst", async () => {
  const { lines, destination } = collect();
  const log = makeLogger("x", "info", { destination });
  // The burst is over long before the interval, also on a slow machine.
  const rateLimited = new RateLimitedLog(log, () => performance.now(), 1000);
  for (let n = 1; n <= 100; n++) rateLimited.warn(`refused ${n} times`, { partition: n }, 1, "refused");
  expect(lines).toHaveLength(1);
  await eventually("the rest is logged although nothing follows", () => lines.length === 2);
  expect(lines).toMatchObject([
    { msg: "refused 1 times", count: 1, partition: 1 },
    { msg: "refused 100 times", count: 99, partition: 100 },
  ]);
});
