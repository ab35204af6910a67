// Measures the programs with a real Kafka broker and a real PostgreSQL server: `bun run bench [scenario…]`.
import { runProgram } from "../shared/runtime/run-program.ts";
import { Bench } from "./bench.ts";
import { type Arguments, isArgument, OPTIONS, readArguments, USAGE } from "./command-line.ts";
import { consumerRound } from "./consumer-round.ts";
import { keepReport } from "./keep.ts";
import { machineOf } from "./machine.ts";
import { simulated } from "./records.ts";
import { type BenchReport, formatReport } from "./report.ts";
import type { Scenario } from "./scenario.ts";
import { SCENARIOS } from "./scenarios.ts";

/** Of the drain that finds the maximum, where the scenario `drain` does not run. */
const MAXIMUM_EVENTS = 1_000_000;

await runProgram({ usage: USAGE, options: OPTIONS, isArgument }, async (stop, values, names) => {
  const { json, ...run } = readArguments(values, names);
  await using bench = await Bench.start(say);
  const running = runAll(bench, run);
  const report = await stop.orStopped(running);
  if (report === undefined) {
    // The scenario fails when its servers stop; that failure is expected.
    running.catch(() => undefined);
    return 1;
  }
  console.log(json ? JSON.stringify(report) : formatReport(report).join("\n"));
  return 0;
});

function say(line: string): void {
  console.error(line);
}

async function runAll(
  bench: Bench,
  { scenarios, options, keep }: Omit<Arguments, "json">,
): Promise<BenchReport> {
  const startedAtMs = Date.now();
  const report: BenchReport = { machine: await machineOf(bench) };
  let measured: Promise<number> | undefined;
  const maximum = async () =>
    report.drain?.eventsPerSecond.consumer ?? (await (measured ??= measureMaximum(bench)));
  for (const name of scenarios) {
    say(`running ${name}`);
    const scenario: Scenario = SCENARIOS[name];
    Object.assign(report, { [name]: await scenario.run(bench, { ...options, maximum, say }) });
    // After each, so that a failure of a later one loses nothing.
    if (keep) say(`kept ${(await keepReport(report, startedAtMs)).join(" and ")}`);
  }
  return report;
}

async function measureMaximum(bench: Bench): Promise<number> {
  say("draining a topic, to find the maximum");
  const topic = await bench.topic();
  await bench.fill(topic, simulated(MAXIMUM_EVENTS));
  const content = { topic, records: MAXIMUM_EVENTS, duplicates: 0 };
  const { eventsPerSecond } = await consumerRound(bench, content);
  await bench.kafka.deleteTopic(topic);
  return eventsPerSecond;
}
