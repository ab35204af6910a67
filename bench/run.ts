// Measures the programs with a real Kafka broker and a real PostgreSQL server: `bun run bench [scenario…]`.
import { ConfigurationError } from "../shared/runtime/errors.ts";
import { runProgram } from "../shared/runtime/run-program.ts";
import { drain } from "./drain.ts";
import { duplicates } from "./duplicates.ts";
import { forms } from "./forms.ts";
import { hostile } from "./hostile.ts";
import { idle } from "./idle.ts";
import { latency } from "./latency.ts";
import { letters } from "./letters.ts";
import { machineOf } from "./machine.ts";
import { Bench } from "./bench.ts";
import { formatReport } from "./format.ts";
import { producer } from "./producer.ts";
import { rebuild } from "./rebuild.ts";
import type { BenchReport } from "./report.ts";
import { retention } from "./retention.ts";
import { rewind } from "./rewind.ts";

const SCENARIOS = [
  "drain",
  "producer",
  "forms",
  "duplicates",
  "hostile",
  "latency",
  "idle",
  "rebuild",
  "rewind",
  "letters",
  "retention",
] as const;
type Scenario = (typeof SCENARIOS)[number];
const BY_DEFAULT: readonly Scenario[] = ["drain", "producer", "latency", "idle"];
const DEFAULT_EVENTS: Readonly<Record<Exclude<Scenario, "latency" | "idle">, number>> = {
  drain: 1_000_000,
  producer: 1_000_000,
  // In shorter rounds most of the time would be the consumer's warm-up.
  forms: 500_000,
  duplicates: 500_000,
  hostile: 200_000,
  rebuild: 1_000_000,
  rewind: 1_000_000,
  letters: 200_000,
  retention: 2_000_000,
};
const DEFAULT_ROUNDS = 3;
const LATENCY_RATE = 1000;

const USAGE = `Usage: bun run bench [scenario…] [--events N] [--rounds N] [--json]

  drain       drains a full topic, compared with INSERT only and with a bare COPY of the same rows: events/s, CPU time
              per event of consumer, PostgreSQL and broker, memory
  producer    publishes simulated events as fast as possible, compared with Kafka's own kafka-producer-perf-test
  latency     the time from the producer to the visible row of the hour, at ${LATENCY_RATE} events/s
  idle        the CPU time of a consumer that has nothing to do
  forms       drains events as other producers write them: Python, another order of keys, UTF-8, escapes, nested
  duplicates  drains topics in which 1 % and 10 % of the events repeat an event_id, compared with INSERT only
  hostile     drains topics of which 0.1, 1, 10 and 100 % are hostile records, compared with a clean one
  rebuild     changes 50 rows of hours by hand while 10,000 events/s flow, and mends them
  rewind      drains a full topic, and reads it again from its beginning
  retention   deletes old hours while 10,000 events/s flow, compared with a run that keeps them; checks a big table,
              all of it and since its last hours
  letters     mends a topic's bad records, a tenth, by one replay of dead letters; lists a million dead letters

Without a scenario it runs ${BY_DEFAULT.join(", ")}: about 4 minutes on two idle cores. forms, duplicates and
hostile take about 3 minutes more each, rebuild and rewind one, retention four. It starts its own Kafka broker (Java 17 and Maven) and
PostgreSQL server and leaves nothing behind.

  --events N  events of each drain, form, share of duplicates, or round of the producer; those stored before a rebuild
              or a rewind, or checked by retention
              (default ${DEFAULT_EVENTS.drain}; retention ${DEFAULT_EVENTS.retention}; forms and duplicates ${DEFAULT_EVENTS.forms}; hostile and letters ${DEFAULT_EVENTS.hostile})
  --rounds N  rounds of drain, producer, forms, duplicates, hostile (default ${DEFAULT_ROUNDS}); figures are medians
  --json      prints one JSON object on standard output; progress is on standard error

Exit code: 0 done, 1 failed or the stored events differ from the published ones, 2 wrong usage.
`;

interface Arguments {
  readonly json: boolean;
  /** Undefined: the default of each scenario. */
  readonly events: number | undefined;
  readonly rounds: number;
  readonly scenarios: readonly Scenario[];
}

const OPTIONS = {
  json: { type: "boolean" },
  events: { type: "string" },
  rounds: { type: "string" },
} as const;
const isArgument = (name: string): boolean => SCENARIOS.some((scenario) => scenario === name);

await runProgram({ usage: USAGE, options: OPTIONS, isArgument }, async (stop, values, names) => {
  const options: Arguments = {
    json: values.json === true,
    events: values.events === undefined ? undefined : countOf("--events", values.events),
    rounds: values.rounds === undefined ? DEFAULT_ROUNDS : countOf("--rounds", values.rounds),
    scenarios: names.length === 0 ? BY_DEFAULT : SCENARIOS.filter((name) => names.includes(name)),
  };
  await using bench = await Bench.start(say);
  const running = runAll(bench, options);
  const report = await stop.orStopped(running);
  if (report === undefined) {
    // The scenario fails when its servers stop; that failure is expected.
    running.catch(() => undefined);
    return 1;
  }
  console.log(options.json ? JSON.stringify(report) : formatReport(report).join("\n"));
  return 0;
});

function say(line: string): void {
  console.error(line);
}

async function runAll(bench: Bench, options: Arguments): Promise<BenchReport> {
  const results: BenchReport = { machine: await machineOf(bench) };
  for (const scenario of options.scenarios) {
    say(`running ${scenario}`);
    Object.assign(results, { [scenario]: await run(scenario, bench, options) });
  }
  return results;
}

async function run(scenario: Scenario, bench: Bench, { rounds, events }: Arguments): Promise<object> {
  const inRounds = { rounds, say };
  switch (scenario) {
    case "drain":
      return await drain(bench, events ?? DEFAULT_EVENTS.drain, inRounds);
    case "producer":
      return await producer(bench, events ?? DEFAULT_EVENTS.producer, inRounds);
    case "forms":
      return await forms(bench, events ?? DEFAULT_EVENTS.forms, inRounds);
    case "duplicates":
      return await duplicates(bench, events ?? DEFAULT_EVENTS.duplicates, inRounds);
    case "hostile":
      return await hostile(bench, events ?? DEFAULT_EVENTS.hostile, inRounds);
    case "rebuild":
      return await rebuild(bench, events ?? DEFAULT_EVENTS.rebuild);
    case "rewind":
      return await rewind(bench, events ?? DEFAULT_EVENTS.rewind);
    case "latency":
      return await latency(bench, LATENCY_RATE);
    case "idle":
      return await idle(bench);
    case "retention":
      return await retention(bench, events ?? DEFAULT_EVENTS.retention, say);
    case "letters":
      return await letters(bench, events ?? DEFAULT_EVENTS.letters);
  }
}

function countOf(option: string, text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number > 0) return number;
  throw new ConfigurationError([`${option} ${text}: must be a whole number above 0 (see --help)`]);
}
