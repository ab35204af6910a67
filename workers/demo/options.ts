// Reads how long and how fast the demo runs from its command line.
import { parseDecimal } from "../../shared/config/environment.ts";
import { ConfigurationError } from "../../shared/runtime/errors.ts";

export const USAGE = `Usage: bun run demo [--seconds N] [--rate N]

Runs the whole pipeline on this machine with nothing installed: its own Kafka broker and PostgreSQL server, the
producer, the consumer, and a live view of all of them. At the end, or at Ctrl-C, the demo consumes every published
record, and proves that no record was lost or counted twice.

  --seconds N   produce for N seconds (default: until Ctrl-C)
  --rate N      records per second, or "unlimited" (default: 1000)
  --help        this text

The consumer listens on METRICS_PORT_CONSUMER (8002) if it is free, else on another port. NO_COLOR turns colors off.
The demo reads no other configuration and leaves no files or processes behind. A second Ctrl-C ends it at once.

Exit code: 0 all proofs hold, 1 a proof does not hold or something failed, 2 wrong usage.
`;

export const OPTIONS = { seconds: { type: "string" }, rate: { type: "string" } } as const;
type OptionValues = { [Name in keyof typeof OPTIONS]?: string | undefined };

export interface DemoOptions {
  /** Undefined: until a signal. */
  readonly seconds: number | undefined;
  /** Records per second; Infinity = unlimited. */
  readonly rate: number;
}

const DEFAULT_RATE = 1000;
const MAX_SECONDS = 7 * 86_400;
const MAX_RATE = 1_000_000;

/** @throws ConfigurationError with every problem */
export function readOptions({ seconds, rate }: OptionValues): DemoOptions {
  const problems: string[] = [];
  const within = (name: string, text: string, most: number): number => {
    const value = parseDecimal(text);
    if (value !== undefined && value > 0 && value <= most) return value;
    problems.push(`${name} ${text}: must be a number above 0, at most ${most} (see --help)`);
    return Number.NaN;
  };
  const options: DemoOptions = {
    seconds: seconds === undefined ? undefined : within("--seconds", seconds, MAX_SECONDS),
    rate:
      rate === undefined ? DEFAULT_RATE : rate === "unlimited" ? Infinity : within("--rate", rate, MAX_RATE),
  };
  if (problems.length > 0) throw new ConfigurationError(problems);
  return options;
}
