// Measures the programs with a real Kafka broker and a real PostgreSQL server: `bun run bench [scenario…]`.
import { ConfigurationError } from "../shared/runtime/errors.ts";
import { runProgram } from "../shared/runtime/run-program.ts";
import { Bench } from "./bench.ts";
import { consumerRound } from "./consumer-round.ts";
import { keepReport } from "./keep.ts";
import { machineOf } from "./machine.ts";
import { simulated } from "./records.ts";
import { type BenchReport, formatReport } from "./report.ts";
import type { Scenario, ScenarioOptions } from "./scenario.ts";
import { SCENARIO_NAMES, SCENARIOS, type ScenarioName } from "./scenarios.ts";

const BY_DEFAULT: readonly ScenarioName[] = ["drain", "producer", "latency", "idle"];
const DEFAULT_ROUNDS = 3;
/** Of the drain that finds the maximum, where the scenario `drain` does not run. */
const MAXIMUM_EVENTS = 1_000_000;

const USAGE = `Usage: bun run bench [scenario…] [--events N] [--rounds N] [--rows N] [--seconds N] [--keep] [--json]

${SCENARIO_NAMES.map(aboutScenario).join("\n")}

Without a scenario it runs ${BY_DEFAULT.join(", ")}. bench/README.md says how long each takes. It starts
its own Kafka broker (Java 17 and Maven) and PostgreSQL server and leaves nothing behind.

  --events N   events of each round; those stored before a rebuild or a rewind
  --rounds N   rounds of what is compared (default ${DEFAULT_ROUNDS}); figures are medians
  --rows N     the size to which growth lets raw_events grow (default 20,000,000)
  --seconds N  the length of soak (default 3,600)
  --keep       writes the report and a picture to bench/results; adds to what was kept on the same day and machine
  --json       prints one JSON object on standard output; progress is on standard error

Exit code: 0 done, 1 failed or the stored events differ from the published ones, 2 wrong usage.
`;

interface Arguments {
  readonly json: boolean;
  readonly keep: boolean;
  readonly scenarios: readonly ScenarioName[];
  readonly options: Omit<ScenarioOptions, "maximum">;
}

const OPTIONS = {
  json: { type: "boolean" },
  keep: { type: "boolean" },
  events: { type: "string" },
  rounds: { type: "string" },
  rows: { type: "string" },
  seconds: { type: "string" },
} as const;
const isArgument = (name: string): boolean => SCENARIO_NAMES.some((scenario) => scenario === name);

await runProgram({ usage: USAGE, options: OPTIONS, isArgument }, async (stop, values, names) => {
  const { json, ...run }: Arguments = {
    json: values.json === true,
    keep: values.keep === true,
    scenarios: names.length === 0 ? BY_DEFAULT : SCENARIO_NAMES.filter((name) => names.includes(name)),
    options: {
      events: countOf("--events", values.events),
      rounds: countOf("--rounds", values.rounds) ?? DEFAULT_ROUNDS,
      rows: countOf("--rows", values.rows),
      seconds: countOf("--seconds", values.seconds),
      say,
    },
  };
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
    Object.assign(report, { [name]: await scenario.run(bench, { ...options, maximum }) });
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

/** Of `--help`: the name, and what it measures in lines of 120 characters at most. */
function aboutScenario(name: ScenarioName): string {
  return `  ${name.padEnd(12)}${SCENARIOS[name].about.replaceAll("\n", `\n${" ".repeat(14)}`)}`;
}

function countOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (Number.isSafeInteger(number) && number > 0) return number;
  throw new ConfigurationError([`${option} ${text}: must be a whole number above 0 (see --help)`]);
}
