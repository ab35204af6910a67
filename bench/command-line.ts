// Defines the command line of `bun run bench`.
import { ConfigurationError } from "../shared/runtime/errors.ts";
import type { ScenarioOptions } from "./scenario.ts";
import { SCENARIO_NAMES, SCENARIOS, type ScenarioName } from "./scenarios.ts";

const BY_DEFAULT: readonly ScenarioName[] = ["drain", "producer", "latency", "idle"];
const DEFAULT_ROUNDS = 3;

export const USAGE = `Usage: bun run bench [scenario…] [--events N] [--rounds N] [--rows N] [--seconds N] [--keep] [--json]

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

export interface Arguments {
  readonly json: boolean;
  readonly keep: boolean;
  readonly scenarios: readonly ScenarioName[];
  readonly options: Omit<ScenarioOptions, "maximum" | "say">;
}

export const OPTIONS = {
  json: { type: "boolean" },
  keep: { type: "boolean" },
  events: { type: "string" },
  rounds: { type: "string" },
  rows: { type: "string" },
  seconds: { type: "string" },
} as const;
export const isArgument = (name: string): boolean => SCENARIO_NAMES.some((scenario) => scenario === name);

type Values = { readonly [Option in keyof typeof OPTIONS]?: string | boolean };

/** @throws ConfigurationError with an option whose value is no count */
export function readArguments(values: Values, names: readonly string[]): Arguments {
  const countOf = (option: "events" | "rounds" | "rows" | "seconds") => toCount(option, values[option]);
  return {
    json: values.json === true,
    keep: values.keep === true,
    scenarios: names.length === 0 ? BY_DEFAULT : SCENARIO_NAMES.filter((name) => names.includes(name)),
    options: {
      events: countOf("events"),
      rounds: countOf("rounds") ?? DEFAULT_ROUNDS,
      rows: countOf("rows"),
      seconds: countOf("seconds"),
    },
  };
}

/** Of `--help`: the name, and what it measures in lines of 120 characters at most. */
function aboutScenario(name: ScenarioName): string {
  return `  ${name.padEnd(12)}${SCENARIOS[name].about.replaceAll("\n", `\n${" ".repeat(14)}`)}`;
}

function toCount(option: string, text: string | boolean | undefined): number | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (Number.isSafeInteger(number) && number > 0) return number;
  throw new ConfigurationError([`--${option} ${text}: must be a whole number above 0 (see --help)`]);
}
