// What the live view shows, at one moment.
import type { Latency } from "./latency.ts";

export type Phase =
  | "producing"
  /** No more records; those under way are acknowledged, then consumed. */
  | "finishing"
  /** The consumer commits what it holds and leaves. */
  | "draining"
  | "done";

export interface Flow {
  readonly total: number;
  readonly perSecond: number;
  /** Per second, oldest first. */
  readonly history: readonly number[];
}

export interface HourRow {
  readonly hour: Date;
  readonly eventType: string;
  readonly events: number;
  readonly uniqueUsers: number;
  /** Seconds; null where no event carries a duration. */
  readonly averageSeconds: number | null;
}

export interface Outcome {
  readonly stored: number;
  readonly duplicates: number;
  readonly deadLettered: number;
}

export interface DeadLetterRow {
  readonly partition: number;
  readonly offset: number;
  readonly reason: string;
  readonly error: string;
}

export interface Endpoints {
  readonly consoleUrl: string;
  /** The command that connects to the database. */
  readonly psql: string;
  readonly consumerLog: string;
}

export interface Snapshot {
  readonly phase: Phase;
  /** Since the first record. */
  readonly elapsedMs: number;
  /** How long it shall produce; undefined: until Ctrl-C. */
  readonly limitMs: number | undefined;
  /** Records per second that were asked for; Infinity = unlimited. */
  readonly rate: number;
  /** True while the producer waits because the consumer is too far behind. */
  readonly isHeldBack: boolean;
  /** Acknowledged by Kafka. */
  readonly produced: Flow;
  /** Committed in PostgreSQL. */
  readonly consumed: Flow;
  /** Records of each partition that are not committed. */
  readonly partitions: readonly { readonly partition: number; readonly lag: number }[];
  readonly latency: Latency | undefined;
  /** Newest hour first. */
  readonly hours: readonly HourRow[];
  readonly outcome: Outcome;
  readonly deadLetters: readonly { readonly reason: string; readonly count: number }[];
  readonly newestDeadLetters: readonly DeadLetterRow[];
  readonly databaseBytes: number | undefined;
  readonly endpoints: Endpoints;
}
