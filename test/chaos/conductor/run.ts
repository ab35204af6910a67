// Breaks a pipeline of real servers and programs in seeded ways, and proves that nothing is lost, doubled or stuck.
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseDecimal } from "../../../shared/config/environment.ts";
import { ConfigurationError, FatalError } from "../../../shared/runtime/errors.ts";
import { runProgram } from "../../../shared/runtime/run-program.ts";
import { count } from "../../../shared/text/format.ts";
import { whyNoKafka } from "../../support/kafka-artifacts.ts";
import { conduct, type RunReport } from "./conductor.ts";
import { FAULTS } from "./faults/all.ts";
import { RECOVERY_LIMIT_MS } from "./round.ts";
import { formatResults } from "./results.ts";

const DEFAULT_SECONDS = 120;
const DEFAULT_RATE = 500;
const MAX_SECONDS = 86_400;
const MAX_RATE = 20_000;
const MAX_SEED = 2 ** 31 - 1;
const COMPLAINTS_SHOWN = 8;
const COMPLAINT_CHARACTERS = 400;

const USAGE = `Usage: bun run chaos [--seed N] [--seconds N] [--rate N] [--fault NAME] [--list]

Runs the consumers against three Kafka brokers and a PostgreSQL server of its own, breaks one part after the other or
several at once, and compares every table with the records of the log, at moments between and at the end. Each fault
has to show that it reached its victim. Needs Java 17 and Maven; leaves nothing behind.

  --seed N      decides which faults come, in which order, and their details (default: drawn, and printed)
  --seconds N   how long faults are injected (default ${DEFAULT_SECONDS}); starting and draining take about 30 s more
  --rate N      records per second (default ${DEFAULT_RATE})
  --fault NAME  injects this fault alone, again and again; may be given several times
  --list        names the faults

Exit code: 0 nothing was lost, doubled or stuck and each fault has bitten, 1 otherwise, 2 wrong usage.
`;

const OPTIONS = {
  seed: { type: "string" },
  seconds: { type: "string" },
  rate: { type: "string" },
  fault: { type: "string", multiple: true },
  list: { type: "boolean" },
} as const;

await runProgram({ usage: USAGE, options: OPTIONS }, async (stop, values) => {
  if (values.list === true) {
    for (const { name, about } of FAULTS) print(`${name.padEnd(30)} ${about}`);
    return 0;
  }
  const problems: string[] = [];
  const within = (option: string, text: string | undefined, otherwise: number, most: number): number => {
    const value = text === undefined ? otherwise : parseDecimal(text);
    if (value !== undefined && Number.isInteger(value) && value > 0 && value <= most) return value;
    problems.push(`--${option} ${text}: must be a whole number above 0, at most ${most} (see --help)`);
    return otherwise;
  };
  const seed = within("seed", values.seed, 1 + Math.floor(Math.random() * 999_999), MAX_SEED);
  const seconds = within("seconds", values.seconds, DEFAULT_SECONDS, MAX_SECONDS);
  const rate = within("rate", values.rate, DEFAULT_RATE, MAX_RATE);
  const names = values.fault ?? [];
  for (const name of names) {
    if (!FAULTS.some((fault) => fault.name === name)) problems.push(`--fault ${name}: see --list`);
  }
  if (problems.length > 0) throw new ConfigurationError(problems);
  const reason = whyNoKafka();
  if (reason !== undefined) throw new FatalError(`chaos needs Kafka brokers: ${reason}`);

  const command = [
    `bun run chaos --seed ${seed} --seconds ${seconds} --rate ${rate}`,
    ...names.map((name) => `--fault ${name}`),
  ].join(" ");
  print(command);
  const report = await conduct({
    seed,
    seconds,
    rate,
    faults: names.length === 0 ? FAULTS : FAULTS.filter(({ name }) => names.includes(name)),
    say: print,
    isStopped: () => stop.isRequested,
  });
  for (const line of formatReport(report)) print(line);
  if (report.problems.length === 0) return 0;
  for (const line of lastComplaints(report)) print(line);
  print(`the outputs of the consumers are in ${await keepOutputs(report)}\nfailed: ${command}`);
  return 1;
});

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function formatReport(report: RunReport): string[] {
  const { outcomes, problems, leftOut, comparisons, acknowledged, consumed, cut, seconds } = report;
  return [
    "",
    ...formatResults(outcomes, report),
    "",
    ...leftOut.map((text) => `left out: ${text}`),
    `${outcomes.length} faults in ${Math.round(seconds)} s; ${count(acknowledged)} records acknowledged, ${count(consumed)} consumed, ` +
      `${count(cut)} cut off by Kafka itself; ${comparisons} comparisons with the log`,
    ...(problems.length === 0
      ? [
          `ok: nothing lost, nothing doubled, each fault has bitten, the flow went on within ${RECOVERY_LIMIT_MS / 1000} s`,
        ]
      : problems.map((problem) => `WRONG  ${problem}`)),
  ];
}

/** What each consumer complained about last, for those who have nothing but this output. */
function lastComplaints({ outputs }: RunReport): string[] {
  return [...outputs].flatMap(([name, output]) => {
    const complaints = output.split("\n").filter((line) => /"level":"(?:warn|error|fatal)"/.test(line));
    return complaints
      .slice(-COMPLAINTS_SHOWN)
      .map((line) => `${name}: ${line.slice(0, COMPLAINT_CHARACTERS)}`);
  });
}

/** @returns the directory of the files */
async function keepOutputs({ outputs }: RunReport): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "event-pipeline-chaos-failed-"));
  for (const [name, output] of outputs) {
    await Bun.write(join(directory, `${name.replaceAll(" ", "-")}.log`), output);
  }
  return directory;
}
