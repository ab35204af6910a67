// Describes and reads the configuration of the consumer.
import { Type } from "typebox";
import { type DatabaseConfig, MAIN_CONNECTIONS } from "./database-config.ts";
import { addProblem, readSection, type SectionSource, type SectionValues } from "./section.ts";
import { boolean, decimal, integer } from "./setting.ts";

const RETENTION_DAYS = [0.001, 36_500] as const;

export const CONSUMER_SECTION = Type.Object({
  /** Worker threads. */
  workers: Type.Optional(integer("CONSUMER_WORKERS", [1, 1000])),
  /** The most records in one transaction. */
  batchSize: integer("CONSUMER_BATCH_SIZE", [1, 100_000], 10_000),
  /** How long an hour stays open after its end. */
  hourGraceMinutes: decimal("AGGREGATOR_FLUSH_INTERVAL_MINUTES", [0, 525_600], 5),
  flushIntervalSeconds: decimal("FLUSH_INTERVAL_SECONDS", [0.1, 86_400], 60),
  saveRawEvents: boolean("SAVE_RAW_EVENTS", true),
  copyRawEvents: boolean("COPY_RAW_EVENTS", true),
  savePipelineMetrics: boolean("SAVE_PIPELINE_METRICS", true),
  maxFutureSkewSeconds: decimal("MAX_FUTURE_SKEW_SECONDS", [0, 1e10], 86_400),
  /** Days that each table keeps; without a number it keeps everything. */
  rawEventsDays: Type.Optional(decimal("RETENTION_DAYS", RETENTION_DAYS)),
  hourlyUsersDays: Type.Optional(decimal("HOURLY_USERS_RETENTION_DAYS", RETENTION_DAYS)),
  deadLettersDays: Type.Optional(decimal("DEAD_LETTER_RETENTION_DAYS", RETENTION_DAYS)),
  pipelineMetricsDays: Type.Optional(decimal("PIPELINE_METRICS_RETENTION_DAYS", RETENTION_DAYS)),
  /** The share of dead letters among the last 1,000 records of a partition above which it stops. */
  deadLetterLimit: Type.Optional(decimal("DEAD_LETTER_LIMIT", [0, 1])),
});

type ConsumerValues = SectionValues<typeof CONSUMER_SECTION.properties>;

export interface ConsumerConfig extends ConsumerValues {
  readonly workers: number;
}

/** @param processors how many workers can run at once on this machine */
export function readConsumerConfig(
  source: SectionSource,
  database: DatabaseConfig,
  processors: number,
): ConsumerConfig {
  const { workers: wanted, ...values } = readSection(CONSUMER_SECTION, source);
  // Each worker holds one connection, so that the process stays within DB_MAX_CONNECTIONS.
  const most = Math.max(1, database.maxConnections - MAIN_CONNECTIONS);
  if (wanted !== undefined && wanted > most) {
    const problem =
      `each worker needs one connection and the main thread ${MAIN_CONNECTIONS}: ` +
      `DB_MAX_CONNECTIONS=${database.maxConnections} allows ${most}`;
    addProblem(source.problems, "CONSUMER_WORKERS", wanted, problem);
  }
  const byDefault = Math.max(1, database.minConnections - 1, Math.min(processors, most));
  return { ...values, workers: wanted ?? Math.min(most, byDefault) };
}

/** True where anything is to be deleted. */
export function hasRetention(config: ConsumerConfig): boolean {
  const { rawEventsDays, hourlyUsersDays, deadLettersDays, pipelineMetricsDays } = config;
  return [rawEventsDays, hourlyUsersDays, deadLettersDays, pipelineMetricsDays].some(
    (days) => days !== undefined,
  );
}

/** One sentence where the retention of the users decides which events are stored. */
export function surprisingRetention({ rawEventsDays, hourlyUsersDays }: ConsumerConfig): readonly string[] {
  if (hourlyUsersDays === undefined || hourlyUsersDays >= (rawEventsDays ?? Infinity)) return [];
  return [
    `HOURLY_USERS_RETENTION_DAYS=${hourlyUsersDays} is shorter than RETENTION_DAYS${rawEventsDays === undefined ? ", which is not set" : `=${rawEventsDays}`}: events older than ${hourlyUsersDays} days become dead letters (expired), because the users of their hours are gone`,
  ];
}
