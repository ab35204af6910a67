// Runs the tests side by side, each file in its own process: `bun run test [path…]`, `bun run test:long`.
import { rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { prepareNativeLibrary } from "../shared/kafka/native-library.ts";
import { errorMessage } from "../shared/runtime/errors.ts";
import { reapOnExit } from "../shared/runtime/child-reaper.ts";
import { SharedServers } from "./support/shared-servers.ts";
import { whyNoKafka } from "./support/kafka-artifacts.ts";
import { prepareKafka } from "./support/kafka.ts";
import { Progress } from "./support/progress.ts";
import { type TestReport, failureExcerpts, readTestReport } from "./support/test-report.ts";

const ROOT = resolve(import.meta.dir, "..");
const USAGE = `Usage: bun run test [path…] [-t pattern]
       bun run test:long [path…] [-t pattern]

Runs the types, the linter, the format check and every test but the long ones, which are in files named
*.long.test.ts; test:long runs those. With paths (or parts of paths) test runs only the files that match, also
long ones; with -t, only the tests whose names match.

Exit code: 0 all passed, 1 something failed, 2 wrong usage. With CI=true a skipped test is a failure.
`;

const LONG_FILE = /\.long\.test\.ts$/;
/** A test that takes longer has hung; the few that need more time set their own. */
const TEST_TIMEOUT_MS = 120_000;
const FILE_DEADLINE_MS = 10 * 60_000;
const OUTPUT_DEADLINE_MS = 5000;
/** Most files wait more than they compute. */
const FILES_AT_ONCE = Math.min(8, 2 * availableParallelism());
/** Long files start clusters and browsers, and freeze and kill what they started. */
const LONG_FILES_AT_ONCE = 2;
/** The slowest files start first, so that the run does not end with one lane at work. */
const START_FIRST = [
  "test/kafka/rebalance",
  "test/producer/producer",
  "test/kafka/admin",
  "test/upgrade/dumps",
  "test/integration/",
  "test/kafka/consumer",
  "test/properties/",
  "test/check/",
  "test/chaos/brokers",
  "test/monitoring/faults",
  "test/chaos/",
];

interface Job {
  readonly name: string;
  readonly run: () => Promise<{ report: TestReport; output: string }>;
}

interface Arguments {
  readonly files: readonly string[];
  readonly pattern: string | undefined;
  /** False where only a part was asked for. */
  readonly withTypesAndLint: boolean;
}

const startedAt = performance.now();
const total = { passed: 0, failed: 0 };
const failures: string[] = [];
/** What the failed tests printed, to be read at the end without a search through the whole output. */
const excerpts: string[] = [];
const skips: string[] = [];
const progress = new Progress(process.stdout);

async function main(): Promise<void> {
  const { files, pattern, withTypesAndLint } = readArguments(process.argv.slice(2));
  const servers = new SharedServers();

  progress.print(withTypesAndLint ? "== set-up, types and lint" : "== set-up");
  await Promise.all([
    step("native library", () => prepareNativeLibrary(say)),
    kafkaStep(),
    step("PostgreSQL", () => servers.postgres()),
    sideBySide(withTypesAndLint ? [script("types"), script("lint")] : [], 1),
  ]);

  progress.print("\n== tests");
  const isLong = (file: string) => LONG_FILE.test(file);
  const jobsOf = (some: readonly string[]) => some.map((file) => testFile(file, servers.env, pattern));
  const [long, short] = [files.filter(isLong), files.filter((file) => !isLong(file))];
  await sideBySide(jobsOf(short), FILES_AT_ONCE);
  await sideBySide(jobsOf(long), LONG_FILES_AT_ONCE);

  const kept = await servers.stop(total.failed > 0 ? "keep databases" : "remove databases");
  progress[Symbol.dispose]();
  summary(kept);
}

function readArguments(args: readonly string[]): Arguments {
  const { values, positionals } = parse(args);
  const all = [...new Bun.Glob("{test,shared,workers,bench}/**/*.test.ts").scanSync({ cwd: ROOT })];
  const isPart = (file: string, path: string) =>
    file.includes(path) || file.startsWith(relative(ROOT, resolve(path)));
  const unknown = positionals.filter((path) => !all.some((file) => isPart(file, path)));
  if (unknown.length > 0) misused(`no test file matches ${unknown.join(", ")}`);
  const isPartial = positionals.length > 0;
  const files = all
    .filter((file) => (values.long || !isPartial ? LONG_FILE.test(file) === values.long : true))
    .filter((file) => !isPartial || positionals.some((path) => isPart(file, path)))
    .toSorted((a, b) => startOrder(a) - startOrder(b) || a.localeCompare(b));
  if (files.length === 0) misused(`no long test file matches ${positionals.join(", ")}`);
  const pattern = values["test-name-pattern"];
  return { files, pattern, withTypesAndLint: !values.long && !isPartial && pattern === undefined };
}

function parse(args: readonly string[]) {
  try {
    const parsed = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        help: { type: "boolean", short: "h" },
        long: { type: "boolean", default: false },
        "test-name-pattern": { type: "string", short: "t" },
      },
    });
    if (parsed.values.help) {
      console.log(USAGE);
      process.exit(0);
    }
    return parsed;
  } catch (error) {
    return misused(errorMessage(error));
  }
}

function misused(message: string): never {
  console.error(`${message}\n\n${USAGE}`);
  process.exit(2);
}

function startOrder(file: string): number {
  const index = START_FIRST.findIndex((prefix) => file.startsWith(prefix));
  return index < 0 ? START_FIRST.length : index;
}

function say(line: string): void {
  progress.print(`   ${line}`);
}

async function kafkaStep(): Promise<void> {
  const missing = whyNoKafka();
  if (missing === undefined) await step("Kafka", () => prepareKafka(say));
  else say(`no Kafka broker can be started: ${missing}`);
}

/** A step of the set-up. When it fails, some tests fail too, and the others are still worth running. */
async function step(name: string, work: () => Promise<unknown>): Promise<void> {
  const start = performance.now();
  progress.expect(1);
  progress.started(name);
  try {
    await work();
    say(`${name}: ready (${seconds(start)})`);
  } catch (error) {
    total.failed++;
    failures.push(`set-up: ${name}`);
    say(`${name}: FAILED: ${errorMessage(error)}`);
  }
  progress.ended(name);
}

/** Runs the jobs in their order, at most `atOnce` at the same time. */
async function sideBySide(jobs: readonly Job[], atOnce: number): Promise<void> {
  progress.expect(jobs.length);
  const waiting = jobs.values();
  const lane = async () => {
    for (const job of waiting) {
      const start = performance.now();
      progress.started(job.name);
      const { report, output } = await job.run();
      progress.ended(job.name);
      count(job.name, report, output, start);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
}

/** A script of package.json; it counts as one test. */
function script(name: string): Job {
  return {
    name,
    run: async () => {
      const { exitCode, output } = await run([process.execPath, "run", name], {});
      const passed = exitCode === 0 ? 1 : 0;
      return { report: { passed, failed: 1 - passed, failures: [], skipped: [] }, output };
    },
  };
}

/** Each file is a separate process, so that a crash or a hang does not affect the others. */
function testFile(file: string, env: Readonly<Record<string, string>>, pattern: string | undefined): Job {
  return {
    name: file,
    run: async () => {
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
      const report = readTestReport(written, exitCode);
      // With a pattern, a test that does not match it is listed as skipped.
      return { report: pattern === undefined ? report : { ...report, skipped: [] }, output };
    },
  };
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
  const reaper = reapOnExit({ pid: child.pid, signal: "KILL" });
  let output = "";
  const read = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    for await (const bytes of stream) output += decoder.decode(bytes, { stream: true });
  };
  const reading = Promise.all([read(child.stdout), read(child.stderr)]);
  const exitCode = await child.exited;
  reaper.release();
  // A process that the child left behind may hold the pipes open.
  await withinTime(reading, OUTPUT_DEADLINE_MS);
  const ending = child.signalCode === null ? "" : `\nended by ${child.signalCode}\n`;
  return { exitCode, output: `${output}${ending}` };
}

async function withinTime(work: Promise<unknown>, timeoutMs: number): Promise<void> {
  const { promise, resolve: end } = Promise.withResolvers<void>();
  const timer = setTimeout(end, timeoutMs);
  await Promise.race([work, promise]);
  clearTimeout(timer);
}

/** Adds to the totals. Prints one line, and before it the whole output of a job that failed. */
function count(name: string, report: TestReport, output: string, start: number): void {
  const { passed, failed, skipped } = report;
  total.passed += passed;
  total.failed += failed;
  skips.push(...skipped.map((test) => `${name}: ${test}`));
  if (failed > 0) {
    failures.push(
      ...(report.failures.length > 0 ? report.failures.map((test) => `${name}: ${test}`) : [name]),
    );
    excerpts.push(`${name}\n${quoted(failureExcerpts(output))}`);
    progress.print(quoted(output.trim()));
  }
  const counts = [
    `${passed} passed`,
    ...(failed > 0 ? [`${failed} FAILED`] : []),
    ...(skipped.length > 0 ? [`${skipped.length} skipped`] : []),
  ];
  say(`${name}: ${counts.join(", ")} (${seconds(start)})`);
}

function quoted(output: string): string {
  return output.replaceAll(/^/gm, "   | ");
}

function summary(kept: string | undefined): void {
  list("skipped", skipsByReason());
  if (process.env["CI"] === "true") total.failed += skips.length;
  if (excerpts.length > 0) console.log(`\n== what the failed tests printed\n${excerpts.join("\n")}`);
  list("failed", failures);
  if (kept !== undefined) console.log(`\n   The databases of the tests are kept in ${kept}/data.`);
  const skipped = skips.length > 0 ? `, ${skips.length} skipped` : "";
  console.log(`\n   took ${seconds(startedAt)}`);
  console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);
  process.exitCode = total.failed > 0 ? 1 : 0;
}

/** `12 × needs Kafka: …`; a test without a reason is listed by name. */
function skipsByReason(): string[] {
  const groups = Map.groupBy(skips, (test) => / \[skipped, (needs .*)\]$/.exec(test)?.[1] ?? test);
  return [...groups].map(([reason, tests]) => (reason === tests[0] ? reason : `${tests.length} × ${reason}`));
}

function list(title: string, lines: readonly string[]): void {
  if (lines.length > 0) console.log(`\n== ${title}\n${lines.map((line) => `   ${line}`).join("\n")}`);
}

function seconds(start: number): string {
  return `${((performance.now() - start) / 1000).toFixed(1)} s`;
}

await main();
