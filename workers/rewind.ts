// Reads the partitions of a topic again from a time or an offset: `bun run rewind --topic T --to TIME|OFFSET`.

import { type Config, loadConfig } from "../shared/config/config.ts";
import { prepareNativeLibrary } from "../shared/kafka/native-library.ts";
import { ConfigurationError, FatalError } from "../shared/runtime/errors.ts";
import { runProgram } from "../shared/runtime/run-program.ts";
import type { StopSignal } from "../shared/runtime/stop-signal.ts";
import { assertTables } from "../shared/store/check/overview.ts";
import { assertOwnBackend } from "../shared/store/pooler.ts";
import { readRawAccount, withoutRawRow } from "../shared/store/raw-account.ts";
import { currentReadings, rewind, type RewindTarget, type Rewound } from "../shared/store/readings.ts";
import { CONSUMER_RIGHTS, assertRights } from "../shared/store/rights.ts";
import { Session, type SessionOptions } from "../shared/store/session.ts";
import { inSnapshot } from "../shared/store/snapshot.ts";
import { explainUnavailable } from "../shared/store/unavailable.ts";
import { count, plural } from "../shared/text/format.ts";
import { print, progressReporter, say } from "./print.ts";
import { parseDestination, targetsOf } from "./rewind/destination.ts";
import { followReadings, type ReadAgain } from "./rewind/follow.ts";
import { formatReport, progressLine, type RewindReport } from "./rewind/report.ts";

const USAGE = `Usage: bun run rewind --topic T --to TIME|OFFSET [--partition P] [--dry-run] [--json] [--help]

Reads the partitions of a topic again from there, in a new reading of each, while the consumers run. A record whose event
is stored counts as a duplicate; one that is not stored, is stored now, as the consumers judge it today. Running consumers
take it up at once, others when they start. It then shows how far they are; Ctrl-C ends only that. Without a raw row for
every stored event it is refused, because events would count twice: while it is read again, keep SAVE_RAW_EVENTS=true.
Events of hours that are past their retention become dead letters (expired) of the new reading; they stay counted.
Configured by environment variables (DB_*, KAFKA_*; see config.example.env).

  --topic T         the topic
  --to TIME|OFFSET  the records that Kafka has since TIME (ISO 8601 with a zone), or those from OFFSET on. A partition that
                    is not stored beyond it stays as it is; what Kafka has deleted cannot be read again
  --partition P     only this partition
  --dry-run         shows from where each partition would be read again, and changes nothing
  --json            prints one JSON object: {"dry_run", "topic", "partitions": [{"partition", "from", "to", "reading"}],
                    "workers", "read_again": {"offsets", "stored", "duplicates", "dead_lettered", "is_whole"} or null,
                    "seconds"}

Exit code: 0 done, 1 no partition is stored beyond it or something failed, 2 wrong usage or configuration.
`;

const OPTIONS = {
  topic: { type: "string" },
  to: { type: "string" },
  partition: { type: "string" },
  "dry-run": { type: "boolean" },
  json: { type: "boolean" },
} as const;

const TRANSACTION_DEADLINE_MS = 30_000;

await runProgram({ usage: USAGE, options: OPTIONS }, async (stop, options) => {
  const to = parseDestination(options.to);
  const { topic } = options;
  if (topic === undefined) throw new ConfigurationError(["--topic is missing (see --help)"]);
  if (options.partition !== undefined && !/^\d{1,9}$/.test(options.partition)) {
    throw new ConfigurationError([`--partition ${options.partition}: must be the number of a partition`]);
  }
  const partition = options.partition === undefined ? undefined : Number(options.partition);
  const config = loadConfig(process.env, "check");
  if (!config.consumer.saveRawEvents) {
    throw new ConfigurationError([
      "SAVE_RAW_EVENTS=false: without raw events, records that are read again would count twice",
    ]);
  }
  for (const warning of config.warnings) say(warning);
  await prepareNativeLibrary(say);
  const targets = await targetsOf(config.kafka, topic, partition, to);
  const session = await openSession(config);
  try {
    await assertRewindable(session);
    const report = options["dry-run"]
      ? await preview(session, topic, targets)
      : await perform(session, topic, targets, stop);
    await print(options.json ? `${JSON.stringify(report)}\n` : formatReport(report));
    return 0;
  } catch (error) {
    throw explainUnavailable(error, config.database);
  } finally {
    await session.close();
  }
});

async function openSession({ kafka, database }: Config): Promise<Session> {
  const options: SessionOptions = { role: "main", consumerGroup: kafka.consumerGroup };
  try {
    const session = await Session.open(database, options);
    await assertOwnBackend(session, database, options);
    return session;
  } catch (error) {
    throw explainUnavailable(error, database);
  }
}

/** @throws FatalError where an event is stored without a raw row: nothing would keep it from being stored again */
async function assertRewindable(session: Session): Promise<void> {
  const account = await inSnapshot(session.sql, async (tx) => {
    await assertTables(tx);
    await assertRights(tx, CONSUMER_RIGHTS, ["pipeline_offsets"]);
    return await readRawAccount(tx);
  });
  const missing = withoutRawRow(account);
  if (missing === 0) return;
  throw new FatalError(
    `${count(missing)} of ${count(account.stored)} stored events have no row in raw_events (SAVE_RAW_EVENTS=false, or the rows were deleted): read again, they would count twice`,
  );
}

async function preview(
  session: Session,
  topic: string,
  targets: readonly RewindTarget[],
): Promise<RewindReport> {
  const current = await session.run((sql) => currentReadings(sql, targets));
  const rewound = current.flatMap((reading): Rewound[] => {
    const { at = Infinity } = targets.find(({ partition }) => partition === reading.partition) ?? {};
    if (at >= reading.nextOffset) return [];
    return [{ ...reading, reading: reading.reading + 1, nextOffset: at, until: reading.nextOffset }];
  });
  assertSome(rewound, current.length, topic);
  return reportOf(topic, rewound, { dry_run: true, workers: 0, read_again: null, seconds: null });
}

async function perform(
  session: Session,
  topic: string,
  targets: readonly RewindTarget[],
  stop: StopSignal,
): Promise<RewindReport> {
  const { rewound, workers } = await session.transaction(TRANSACTION_DEADLINE_MS, (tx) =>
    rewind(tx, targets),
  );
  if (rewound.length === 0) {
    const current = await session.run((sql) => currentReadings(sql, targets));
    assertSome(rewound, current.length, topic);
  }
  const startedAt = performance.now();
  const report = (again: ReadAgain | undefined): RewindReport =>
    reportOf(topic, rewound, {
      dry_run: false,
      workers,
      read_again: again ?? null,
      seconds: again === undefined ? null : (performance.now() - startedAt) / 1000,
    });
  // No consumer runs that could read.
  if (workers === 0) return report(undefined);
  const progress = progressReporter();
  say(`rewound ${plural(rewound.length, "partition")}; the consumers read again`);
  return report(
    await stop.orStopped(
      followReadings(session, rewound, (now) => progress(() => progressLine(report(now)))),
    ),
  );
}

/** @throws FatalError where no partition is read again */
function assertSome(rewound: readonly Rewound[], known: number, topic: string): void {
  if (rewound.length > 0) return;
  throw new FatalError(
    known === 0
      ? `${topic} was never read into this database`
      : `no partition of ${topic} is stored beyond it: nothing is read again`,
  );
}

function reportOf(
  topic: string,
  rewound: readonly Rewound[],
  rest: Pick<RewindReport, "dry_run" | "workers" | "read_again" | "seconds">,
): RewindReport {
  return {
    topic,
    partitions: rewound.map(({ partition, reading, until, nextOffset }) => ({
      partition,
      from: until,
      to: nextOffset,
      reading,
    })),
    ...rest,
  };
}
