// Reports what a database contains and proves that every record is stored exactly once: `bun run check [--json]`.

import { type Config, loadConfig } from "../shared/config/config.ts";
import { parseDecimal } from "../shared/config/environment.ts";
import { ConfigurationError, FatalError } from "../shared/runtime/errors.ts";
import { runProgram } from "../shared/runtime/run-program.ts";
import { checkDatabase } from "../shared/store/check/check.ts";
import { formatReport } from "../shared/store/check/format.ts";
import type { CheckReport } from "../shared/store/check/report.ts";
import { assertOwnBackend } from "../shared/store/pooler.ts";
import { Session, type SessionOptions } from "../shared/store/session.ts";
import { explainUnavailable } from "../shared/store/unavailable.ts";
import { kafkaLag } from "./check/kafka-lag.ts";
import { print, say } from "./print.ts";
import { parseHour } from "./rebuild/hour-range.ts";

const USAGE = `Usage: bun run check [--json] [--since HOUR] [--minutes N] [--help]

Shows what the database contains (rows, newest events, hours, offsets and lag, dead letters by reason) and proves
that every record was stored exactly once; each proof shows its figures. It reads one snapshot, changes nothing, and
can run while the pipeline runs, but each commit gets slower while the snapshot is open. It asks Kafka for the lag and
waits about 2 s for the answer. Configured by environment variables (DB_*, KAFKA_*; see config.example.env).

  --json       prints one JSON object: {"ok", "invariants": [{"name", "ok", "detail"}], "trusted_hours", "tables",
               "partitions", "unread_partitions", "dead_letters", "dead_letter_states", "hours", "newest_events"}
  --since HOUR reads only the raw events and users of this hour (2026-11-22T21 or 2026-11-22, in UTC) and later ones.
               Earlier hours are compared with their seals where they have one, else taken on trust; the accounts of the
               partitions still have to add up
  --minutes N  how long the snapshot may stay open (default: 10)

Exit code: 0 all proofs hold, 1 a proof does not hold or the database cannot be read, 2 wrong configuration or usage.
`;

const OPTIONS = {
  json: { type: "boolean" },
  since: { type: "string" },
  minutes: { type: "string" },
} as const;
const DEFAULT_MINUTES = 10;
const MAX_MINUTES = 1440;

await runProgram({ usage: USAGE, options: OPTIONS }, async (stop, options) => {
  const minutes = options.minutes === undefined ? DEFAULT_MINUTES : readMinutes(options.minutes);
  const since = options.since === undefined ? undefined : readHour(options.since);
  const config = loadConfig(process.env, "check");
  for (const warning of config.warnings) say(warning);
  const report = await stop.orStopped(readReport(config, minutes, since));
  if (report === undefined) throw new FatalError(`stopped by ${stop.reason}`);
  await print(options.json ? `${JSON.stringify(report)}\n` : formatReport(report));
  return report.ok ? 0 : 1;
});

function readHour(text: string): string {
  const hour = parseHour(text);
  if (hour !== undefined) return hour;
  throw new ConfigurationError([
    `--since ${text}: must be a whole hour in UTC, such as 2026-11-22T21 (see --help)`,
  ]);
}

function readMinutes(text: string): number {
  const minutes = parseDecimal(text);
  if (minutes !== undefined && minutes > 0 && minutes <= MAX_MINUTES) return minutes;
  throw new ConfigurationError([
    `--minutes ${text}: must be a number above 0, at most ${MAX_MINUTES} (see --help)`,
  ]);
}

async function readReport(config: Config, minutes: number, since: string | undefined): Promise<CheckReport> {
  const { kafka, database } = config;
  const options: SessionOptions = { role: "check", consumerGroup: kafka.consumerGroup };
  try {
    const session = await Session.open(database, options);
    try {
      await assertOwnBackend(session, database, options);
      return await checkDatabase(session.sql, { minutes, since, lag: kafkaLag(kafka, say) });
    } finally {
      await session.close();
    }
  } catch (error) {
    throw explainUnavailable(error, database);
  }
}
