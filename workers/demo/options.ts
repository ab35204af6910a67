// The command line in; how long and how fast the demo runs out.
import { parseArgs } from "node:util";
import { parseDecimal } from "../../shared/config/environment.ts";
import { ConfigurationError, errorMessage } from "../../shared/runtime/errors.ts";

export const USAGE = `Usage: bun run demo [--seconds N] [--rate N]

The whole pipeline on this machine, with nothing installed: a Kafka broker and a PostgreSQL server of its own,
the producer, the consumer program, and a live view of what they do. At the end, or at Ctrl-C, everything that
was published is consumed, and the ledger shows that no record was lost or doubled.

  --seconds N   produce for N seconds (default: until Ctrl-C)
  --rate N      records per second, or "unlimited" (default: 1000)
  --help        this text

METRICS_PORT_CONSUMER (8002) is used when it is free, else another port. NO_COLOR turns colours off. All else
is the demo's own: it reads no configuration and leaves nothing behind. A second Ctrl-C ends it at once.

Exit code: 0 the ledger holds, 1 it does not or something failed, 2 wrong usage.
`;

export interface DemoOptions {
  /** Undefined: until a signal. */
  readonly seconds: number | undefined;
  /** Records per second; Infinity = unlimited. */
  readonly rate: number;
}

const DEFAULT_RATE = 1000;
const MOST_SECONDS = 7 * 86_400;
const MOST_RATE = 1_000_000;

/**
 * @param args without the program's name
 * @throws ConfigurationError with every problem
 */
export function readOptions(args: readonly string[]): DemoOptions | "help" {
  const { seconds, rate, help } = parse(args);
  if (help) return "help";
  const problems: string[] = [];
  const within = (name: string, text: string, most: number): number => {
    const value = parseDecimal(text);
    if (value !== undefined && value > 0 && value <= most) return value;
    problems.push(`${name} ${text}: must be a number above 0, at most ${most} (see --help)`);
    return Number.NaN;
  };
  const options: DemoOptions = {
    seconds: seconds === undefined ? undefined : within("--seconds", seconds, MOST_SECONDS),
    rate:
      rate === undefined ? DEFAULT_RATE : rate === "unlimited" ? Infinity : within("--rate", rate, MOST_RATE),
  };
  if (problems.length > 0) throw new ConfigurationError(problems);
  return options;
}

function parse(args: readonly string[]): { seconds?: string; rate?: string; help?: boolean } {
  try {
    return parseArgs({
      args: [...args],
      options: {
        seconds: { type: "string" },
        rate: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    }).values;
  } catch (error) {
    throw new ConfigurationError([`${errorMessage(error)} (see --help)`]);
  }
}
