// `bun run bench [scenario…] [--events N] [--json]`: real Kafka, real PostgreSQL, the real consumer; figures out.
import { availableParallelism, cpus, totalmem } from "node:os";
import { parseArgs } from "node:util";
import { runProgram } from "../shared/runtime/lifecycle.ts";
import { drain } from "./drain.ts";
import { idle } from "./idle.ts";
import { latency } from "./latency.ts";
import { Bench } from "./pipeline.ts";

const SCENARIOS = ["drain", "latency", "idle"] as const;
type Scenario = (typeof SCENARIOS)[number];
const DEFAULT_EVENTS = 300_000;
const LATENCY_RATE = 1000;

const HELP = `Usage: bun run bench [scenario…] [--events N] [--json]

  drain    a full topic to empty: events/s, CPU per event of consumer, PostgreSQL and broker (median of 3 rounds)
  latency  producer to visible in the hourly row, at ${LATENCY_RATE} events/s
  idle     what a consumer costs that has nothing to do

Without a scenario all of them run. --events (default ${DEFAULT_EVENTS}) is for drain. Exit code: 0, 1 failed, 2 wrong usage.
`;

async function main(): Promise<number> {
  let options: ReturnType<typeof readArguments>;
  try {
    options = readArguments(process.argv.slice(2));
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${HELP}`);
    return 2;
  }
  if (options.help) {
    console.log(HELP);
    return 0;
  }
  const say = (line: string): void => console.error(line);
  await using bench = await Bench.start(say);
  const results: Record<string, unknown> = {
    machine: {
      processors: availableParallelism(),
      model: cpus()[0]?.model,
      memoryGiB: Math.round(totalmem() / 2 ** 30),
    },
  };
  for (const scenario of options.scenarios) {
    say(`running ${scenario}`);
    results[scenario] = await run(scenario, bench, options.events, say);
  }
  console.log(options.json ? JSON.stringify(results) : Bun.inspect(results, { depth: 5 }));
  return 0;
}

async function run(
  scenario: Scenario,
  bench: Bench,
  events: number,
  say: (line: string) => void,
): Promise<object> {
  switch (scenario) {
    case "drain":
      return await drain(bench, events, say);
    case "latency":
      return await latency(bench, LATENCY_RATE);
    case "idle":
      return await idle(bench);
  }
}

function readArguments(args: string[]) {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { help: { type: "boolean", short: "h" }, json: { type: "boolean" }, events: { type: "string" } },
  });
  const unknown = positionals.filter((name) => !SCENARIOS.some((scenario) => scenario === name));
  if (unknown.length > 0) throw new Error(`there is no scenario ${unknown.join(", ")}`);
  const events = Number(values.events ?? DEFAULT_EVENTS);
  if (!Number.isSafeInteger(events) || events < 1)
    throw new Error(`--events ${values.events}: must be a number above 0`);
  const scenarios = SCENARIOS.filter((name) => positionals.length === 0 || positionals.includes(name));
  return { help: values.help === true, json: values.json === true, events, scenarios };
}

await runProgram(main);
