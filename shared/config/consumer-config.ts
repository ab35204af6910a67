// Describes and reads the configuration of the consumer.
import { Type } from "typebox";
import { type DatabaseConfig, MAIN_CONNECTIONS } from "./database-config.ts";
import { addProblem, readSection, type SectionSource, type SectionValues } from "./section.ts";

export const CONSUMER_SECTION = Type.Object({
  /** Worker threads. */
  workers: Type.Optional(Type.Integer({ variable: "CONSUMER_WORKERS", minimum: 1, maximum: 1000 })),
  /** The most records in one transaction. */
  batchSize: Type.Integer({ variable: "CONSUMER_BATCH_SIZE", default: 5000, minimum: 1, maximum: 100_000 }),
  /** How long an hour stays open after its end. */
  hourGraceMinutes: Type.Number({
    variable: "AGGREGATOR_FLUSH_INTERVAL_MINUTES",
    default: 5,
    minimum: 0,
    maximum: 525_600,
  }),
  flushIntervalSeconds: Type.Number({
    variable: "FLUSH_INTERVAL_SECONDS",
    default: 60,
    minimum: 0.1,
    maximum: 86_400,
  }),
  saveRawEvents: Type.Boolean({ variable: "SAVE_RAW_EVENTS", default: true }),
  copyRawEvents: Type.Boolean({ variable: "COPY_RAW_EVENTS", default: true }),
  savePipelineMetrics: Type.Boolean({ variable: "SAVE_PIPELINE_METRICS", default: true }),
  maxFutureSkewSeconds: Type.Number({
    variable: "MAX_FUTURE_SKEW_SECONDS",
    default: 86_400,
    minimum: 0,
    maximum: 1e10,
  }),
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
