// Runs a program from its command line to its exit code: options, signals, errors and crashes.
import { readFileSync } from "node:fs";
import { parseArgs, type ParseArgsOptionsConfig } from "node:util";
import { ConfigurationError, errorMessage, FatalError } from "./errors.ts";
import { printable } from "../text/format.ts";
import { StopSignal } from "./stop-signal.ts";

/**
 * `npx` and `bun run` pass on a signal that the terminal has already sent to the whole process group. A signal
 * within this time of the first one is the same Ctrl-C.
 */
const SAME_SIGNAL_MS = 100;
const CRASH_DEADLINE_MS = 4000;

export interface ProgramSettings<Options extends ParseArgsOptionsConfig> {
  /** What `--help` prints, and a wrong command line prints below the reason; ends with a newline. */
  readonly usage: string;
  /** The options besides `--help`, as parseArgs of node:util takes them. */
  readonly options?: Options;
  /** Whether an argument that is not an option is allowed; by default none is. */
  readonly isArgument?: (argument: string) => boolean;
  /** Awaited for four seconds at most when an uncaught error ends the process. */
  readonly onCrash?: (error: unknown) => Promise<void>;
}

type OptionValues<Options extends ParseArgsOptionsConfig> = ReturnType<
  typeof parseArgs<{ options: Options }>
>["values"];

/**
 * @param options the values of `ProgramSettings.options`
 * @param args the arguments that are not options
 * @returns the exit code
 */
export type Main<Options extends ParseArgsOptionsConfig> = (
  stop: StopSignal,
  options: OptionValues<Options>,
  args: readonly string[],
) => Promise<number>;

/**
 * Runs a program to its end and exits the process with the code that `main` returns. The first SIGINT or SIGTERM
 * requests a stop; the second forces exit code 1 at once. SIGHUP requests a stop too, unless nohup ignores it. A wrong command line exits with 2. What `main` throws is
 * printed: ConfigurationError as its list of problems (exit 2), FatalError as its sentence (exit 1), anything else
 * with its stack (exit 1).
 */
export async function runProgram<Options extends ParseArgsOptionsConfig = ParseArgsOptionsConfig>(
  settings: ProgramSettings<Options>,
  main: Main<Options>,
): Promise<never> {
  const { options, args } = readCommandLine(settings);
  const stop = new StopSignal();
  exitOnSecondSignal(stop);
  exitOnCrash(settings.onCrash);
  try {
    process.exit(await main(stop, options, args));
  } catch (error) {
    process.exit(reportFailure(error));
  }
}

/** Exits the process after `--help` or a wrong command line. */
function readCommandLine<Options extends ParseArgsOptionsConfig>({
  usage,
  options,
  isArgument,
}: ProgramSettings<Options>): { options: OptionValues<Options>; args: readonly string[] } {
  try {
    const { values, positionals } = parseArgs({
      options: { ...options, help: { type: "boolean", short: "h" } },
      allowPositionals: isArgument !== undefined,
    });
    const unknown = positionals.find((argument) => isArgument?.(argument) === false);
    if (unknown !== undefined) throw new Error(`Unexpected argument '${unknown}'`);
    if (values["help"] !== true) return { options: values as OptionValues<Options>, args: positionals };
  } catch (error) {
    // The further sentences of parseArgs explain the syntax of options; the usage says what is allowed here.
    process.stderr.write(`${errorMessage(error).split(/\n|\. /)[0]}\n\n${usage}`);
    process.exit(2);
  }
  process.stdout.write(usage);
  process.exit(0);
}

function exitOnSecondSignal(stop: StopSignal): void {
  let firstSignalAt: number | undefined;
  const onSignal = (signal: string): void => {
    if (firstSignalAt === undefined) {
      firstSignalAt = performance.now();
      stop.request(signal);
    } else if (performance.now() - firstSignalAt > SAME_SIGNAL_MS) {
      printLine(`${signal} again: stopping at once, without a drain`);
      process.exit(1);
    }
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  // From a terminal that goes away it comes once or twice, so that it never counts as the second signal.
  if (!isHangUpIgnored()) process.on("SIGHUP", () => stop.request("SIGHUP"));
}

/** True under nohup: such a program outlives its terminal. */
function isHangUpIgnored(): boolean {
  try {
    const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
    return mask !== undefined && (BigInt(`0x${mask}`) & 1n) === 1n;
  } catch {
    return false; // there is no /proc
  }
}

function exitOnCrash(onCrash: ((error: unknown) => Promise<void>) | undefined): void {
  let isCrashing = false;
  const crash = async (error: unknown): Promise<never> => {
    const code = reportFailure(error);
    // A second error while the first one is being handled ends the process at once.
    if (onCrash !== undefined && !isCrashing) {
      isCrashing = true;
      await Promise.race([onCrash(error).catch(() => undefined), Bun.sleep(CRASH_DEADLINE_MS)]);
    }
    process.exit(code);
  };
  process.on("uncaughtException", (error) => void crash(error));
  process.on("unhandledRejection", (error) => void crash(error));
}

/** Prints what ended the program to standard error; returns the exit code that goes with it. */
function reportFailure(error: unknown): 1 | 2 {
  if (error instanceof ConfigurationError) {
    for (const problem of error.problems) printLine(problem);
    return 2;
  }
  if (error instanceof FatalError) printLine(error.message);
  else printLine(error instanceof Error ? (error.stack ?? error.message) : errorMessage(error));
  return 1;
}

/** The sentence may quote what a server has said. */
function printLine(line: string): void {
  process.stderr.write(`${printable(line, "\n\t")}\n`);
}
