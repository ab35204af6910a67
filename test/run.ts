// `bun run test [path…]`: sets up what the tests need, runs types, lint and all tests, and counts on the last line.
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { prepareNativeLibrary } from "../shared/kafka/native-library.ts";
import { errorMessage } from "../shared/runtime/errors.ts";
import { reapOnExit } from "../shared/runtime/child-reaper.ts";
import { SharedServers } from "./support/shared-servers.ts";
import { whyNoKafka } from "./support/kafka-artifacts.ts";
import { prepareKafka } from "./support/kafka.ts";
import { type TestReport, readTestReport } from "./support/test-report.ts";

const ROOT = resolve(import.meta.dir, "..");
const HELP = `Usage: bun run test [path…] [-t pattern]

Runs the types, the linter, the format check and every test. With paths (or parts of paths) it runs only the
test files that match; with -t, only the tests whose names match.
`;

/** A test that takes longer has hung; the few that need longer say so themselves. */
const TEST_TIMEOUT_MS = 30_000;
const FILE_DEADLINE_MS = 8 * 60_000;
const LIGHT_FILES_AT_ONCE = 2;
/** These start servers and count on time to pass: one file after the other. */
const HEAVY = /^test\/(?:support|integration|chaos|demo|monitoring|bench|console|compose)\//;

const total = { passed: 0, failed: 0 };
const failures: string[] = [];
const skips: string[] = [];

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      help: { type: "boolean", short: "h" },
      "test-name-pattern": { type: "string", short: "t" },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const pattern = values["test-name-pattern"];
  const files = testFiles(positionals);
  if (files.length === 0) {
    console.error(`no test file matches ${positionals.join(", ")}`);
    process.exitCode = 2;
    return;
  }
  const everything = positionals.length === 0 && pattern === undefined;

  console.log("== set-up");
  await check("native library", () => prepareNativeLibrary(say));
  const noKafka = whyNoKafka();
  if (noKafka !== undefined) say(`no Kafka broker of our own: ${noKafka}`);
  else await check("Kafka", () => prepareKafka(say));
  const servers = new SharedServers();
  await check("PostgreSQL", () => servers.postgres());

  if (everything) {
    console.log("\n== types and lint");
    await script("types");
    await script("lint");
  }

  console.log("\n== tests");
  const runFile = (file: string) => testFile(file, servers.env, pattern);
  await eachOf(
    files.filter((file) => !HEAVY.test(file)),
    LIGHT_FILES_AT_ONCE,
    runFile,
  );
  await eachOf(
    files.filter((file) => HEAVY.test(file)),
    1,
    runFile,
  );

  const kept = await servers.stop(total.failed > 0 ? "keep databases" : "remove databases");
  summary(kept);
}

function say(line: string): void {
  console.log(`   ${line}`);
}

/** A step of the set-up: without it some tests will fail, and the others still tell something. */
async function check(what: string, work: () => Promise<unknown>): Promise<void> {
  const start = performance.now();
  try {
    await work();
    say(`${what}: ready (${seconds(start)})`);
  } catch (error) {
    total.failed++;
    failures.push(`set-up: ${what}`);
    say(`${what}: FAILED: ${errorMessage(error)}`);
  }
}

/** Runs a script of package.json; it counts as one test. */
async function script(name: string): Promise<void> {
  const start = performance.now();
  const { exitCode, output } = await run([process.execPath, "run", name], {});
  const passed = exitCode === 0;
  const counts = passed ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 };
  report(name, { ...counts, failures: [], skipped: [] }, output, start);
}

function testFiles(wanted: readonly string[]): string[] {
  return [...new Bun.Glob("{test,shared,workers,bench}/**/*.test.ts").scanSync({ cwd: ROOT })]
    .filter((file) => wanted.length === 0 || wanted.some((part) => matches(file, part)))
    .toSorted();
}

function matches(file: string, part: string): boolean {
  return file.includes(part) || file.startsWith(relative(ROOT, resolve(part)));
}

/** Each file is a process of its own: one that crashes or hangs takes no other with it. */
async function testFile(
  file: string,
  env: Readonly<Record<string, string>>,
  pattern: string | undefined,
): Promise<void> {
  const start = performance.now();
  const junit = join(tmpdir(), `event-pipeline-${crypto.randomUUID()}.xml`);
  const { exitCode, output } = await run(
    [
      process.execPath,
      "test",
      "--pass-with-no-tests",
      `--timeout=${TEST_TIMEOUT_MS}`,
      "--reporter=junit",
      `--reporter-outfile=${junit}`,
      ...(pattern === undefined ? [] : ["-t", pattern]),
      `./${file}`,
    ],
    env,
  );
  const written = await Bun.file(junit)
    .text()
    .catch(() => undefined);
  await rm(junit, { force: true });
  const result = readTestReport(written, exitCode);
  // With a pattern, what does not match it counts as skipped there.
  report(file, pattern === undefined ? result : { ...result, skipped: [] }, output, start);
}

async function run(
  command: string[],
  env: Readonly<Record<string, string>>,
): Promise<{ exitCode: number; output: string }> {
  const child = Bun.spawn(command, {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: FILE_DEADLINE_MS,
    killSignal: "SIGKILL",
  });
  const guardian = reapOnExit({ pid: child.pid, signal: "KILL" });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  const exitCode = await child.exited;
  guardian.release();
  const ending = child.signalCode === null ? "" : `\nended by ${child.signalCode}\n`;
  return { exitCode, output: `${stdout}${stderr}${ending}` };
}

/** One line for what passed, all of the output for what did not. */
function report(name: string, result: TestReport, output: string, start: number): void {
  const { passed, failed, skipped } = result;
  total.passed += passed;
  total.failed += failed;
  skips.push(...skipped.map((test) => `${name}: ${test}`));
  if (failed > 0)
    failures.push(
      ...(result.failures.length > 0 ? result.failures.map((test) => `${name}: ${test}`) : [name]),
    );
  const counts = [
    `${passed} passed`,
    ...(failed > 0 ? [`${failed} FAILED`] : []),
    ...(skipped.length > 0 ? [`${skipped.length} skipped`] : []),
  ];
  if (failed > 0) console.log(output.trim().replaceAll(/^/gm, "   | "));
  console.log(`   ${name}: ${counts.join(", ")} (${seconds(start)})`);
}

function summary(kept: string | undefined): void {
  list("skipped", skips);
  if (process.env["CI"] === "true") total.failed += skips.length;
  list("failed", failures);
  if (kept !== undefined) console.log(`\n   The databases of the tests are kept in ${kept}/data.`);
  const skipped = skips.length > 0 ? `, ${skips.length} skipped` : "";
  console.log(`\n${total.passed} passed, ${total.failed} failed${skipped}`);
  process.exitCode = total.failed > 0 ? 1 : 0;
}

function list(title: string, lines: readonly string[]): void {
  if (lines.length > 0) console.log(`\n== ${title}\n${lines.map((line) => `   ${line}`).join("\n")}`);
}

async function eachOf<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const waiting = items.values();
  const lane = async () => {
    for (const item of waiting) await work(item);
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
}

function seconds(start: number): string {
  return `${((performance.now() - start) / 1000).toFixed(1)} s`;
}

await main();
