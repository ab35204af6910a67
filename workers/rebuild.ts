// Recomputes the hours and their users from the raw events: `bun run rebuild [--hours FROM..TO]`.

import { type Config, loadConfig } from "../shared/config/config.ts";
import { ConfigurationError, FatalError } from "../shared/runtime/errors.ts";
import { runProgram } from "../shared/runtime/run-program.ts";
import { assertOwnBackend } from "../shared/store/pooler.ts";
import type { DifferingHour } from "../shared/store/rebuild/compare.ts";
import { rebuild, type RebuildProgress } from "../shared/store/rebuild/rebuild.ts";
import type { HourRange } from "../shared/store/rebuild/slices.ts";
import { Session, type SessionOptions } from "../shared/store/session.ts";
import { explainUnavailable } from "../shared/store/unavailable.ts";
import { count } from "../shared/text/format.ts";
import { print, progressReporter, say } from "./print.ts";
import { parseHours } from "./rebuild/hour-range.ts";
import { formatReport, type RebuildReport, reportOf } from "./rebuild/report.ts";

const USAGE = `Usage: bun run rebuild [--hours FROM..TO] [--dry-run] [--json] [--help]

Recomputes hourly_aggregations and hourly_users from raw_events, slice by slice, says which rows differed, and mends them.
It can run while consumers run, and can be killed at any moment and started again. What has no raw row is never lowered.
Hours that are past their retention are left as they are, and nothing is pruned while it runs.
late_events cannot be recomputed, and is only brought within what the raw events prove. Configured by environment
variables (DB_*; see config.example.env).

  --hours FROM..TO  only the hours that begin at FROM or later, and before TO, in UTC: 2026-11-22T21..2026-11-23;
                    either may be left out
  --dry-run         shows which rows differ, and changes nothing
  --json            prints one JSON object: {"ok", "dry_run", "seconds", "events", "slices", "sealed_before",
                    "events_without_raw_row", "may_lower", "differing": [{"hour", "event_type", "outcome", "stored",
                    "recomputed", "missing_users", "extra_users"}]}, where outcome is mended, would be mended, kept or
                    not mended

Exit code: 0 done, 1 a row could not be mended or something failed, 2 wrong usage or configuration.
`;

const OPTIONS = {
  hours: { type: "string" },
  "dry-run": { type: "boolean" },
  json: { type: "boolean" },
} as const;

await runProgram({ usage: USAGE, options: OPTIONS }, async (stop, options) => {
  const range = parseHours(options.hours);
  const config = loadConfig(process.env, "check");
  if (!config.consumer.saveRawEvents) {
    throw new ConfigurationError([
      "SAVE_RAW_EVENTS=false: without raw events the hours cannot be recomputed",
    ]);
  }
  for (const warning of config.warnings) say(warning);
  const report = await stop.orStopped(run(config, range, options["dry-run"] ?? false));
  if (report === undefined) throw new FatalError(`stopped by ${stop.reason}; what was mended stays mended`);
  await print(options.json ? `${JSON.stringify(report)}\n` : formatReport(report));
  return report.ok ? 0 : 1;
});

async function run(config: Config, range: HourRange, isDryRun: boolean): Promise<RebuildReport> {
  const startedAt = performance.now();
  const reader = await openSession(config, "check");
  const writer = isDryRun ? undefined : await openSession(config, "main");
  const differing: DifferingHour[] = [];
  let last: RebuildProgress = { slices: 0, slicesDone: 0, events: 0, eventsDone: 0 };
  const report = progressReporter();
  try {
    const result = await rebuild(reader, writer, {
      range,
      hourGraceSeconds: config.consumer.hourGraceMinutes * 60,
      onDiffering: (hours) => differing.push(...hours),
      onProgress: (progress) => {
        last = progress;
        report(
          () =>
            `${count(progress.slicesDone)} of ${count(progress.slices)} slices, ${count(progress.eventsDone)} of ${count(progress.events)} events compared, ${count(differing.length)} rows differ`,
        );
      },
    });
    return reportOf(result, differing, {
      dry_run: isDryRun,
      seconds: (performance.now() - startedAt) / 1000,
      events: last.events,
      slices: last.slices,
    });
  } catch (error) {
    throw explainUnavailable(error, config.database);
  } finally {
    await Promise.all([reader.close(), writer?.close()]);
  }
}

async function openSession({ kafka, database }: Config, role: SessionOptions["role"]): Promise<Session> {
  const options: SessionOptions = { role, consumerGroup: kafka.consumerGroup };
  try {
    const session = await Session.open(database, options);
    await assertOwnBackend(session, database, options);
    return session;
  } catch (error) {
    throw explainUnavailable(error, database);
  }
}
