// Read first: the shapes that flow through the pipeline, in the order of the flow.
//
//   record -> decode -> validate -> enrich -> batch -> (one Postgres transaction) -> raw event, hour delta
//                  \-> rejection -> dead letter

/** One partition of one topic. */
export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

/** A partition and an offset in it; by default the next offset to read. */
export interface TopicPartitionOffset extends TopicPartition {
  readonly offset: number;
}

/** The stage of the flow that rejected a record. */
export type RejectionStage = "decode" | "validate" | "store";

/** Why a record can never be stored; a closed list, also the `reason` label of `dead_letter_events_total`. */
export type RejectionReason =
  | "tombstone"
  | "too_large"
  | "not_utf8"
  | "not_json"
  | "too_deep"
  | "not_an_object"
  | "missing_field"
  | "wrong_type"
  | "out_of_range"
  | "invalid_timestamp"
  | "future_timestamp"
  | "unstorable_text"
  | "refused_by_database"
  /** Of an hour below the cut-off of the retention. */
  | "expired";

/** A record that can never be stored: a value, not an exception. `error` names the field and what is wrong with it. */
export interface Rejection {
  readonly stage: RejectionStage;
  readonly reason: RejectionReason;
  readonly error: string;
}

/** An event as it is stored. */
export interface StoredEvent {
  readonly eventId: string;
  readonly userId: string;
  readonly eventType: string;
  /** Milliseconds since 1970, UTC; the fraction below a millisecond is in `timestampMicros`. */
  readonly timestampMs: number;
  /** 0 to 999, the microseconds within the millisecond; finer digits are cut. */
  readonly timestampMicros: number;
  /** JSON text of event_data. */
  readonly eventDataText: string;
  /** Whole milliseconds, 0 to 1e12; undefined where the event carries no duration. */
  readonly durationMs: number | undefined;
}

/** A decoded, validated record. */
export interface PipelineEvent extends StoredEvent {
  /** The amount of a purchase, where it is a number. */
  readonly purchaseAmount: number | undefined;
}

/** A rejected record, with everything that a later replay needs, unless the record is too large to be kept whole. */
export interface DeadLetter {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  /** Of the partition, see pipeline_offsets. */
  readonly reading: number;
  readonly offset: number;
  readonly key: Uint8Array | undefined;
  /** The true length of a key of which only the beginning is kept. */
  readonly keyBytes?: number | undefined;
  readonly value: Uint8Array | undefined;
  /** The true length and the SHA-256 of a value of which only the beginning is kept. */
  readonly valueBytes?: number | undefined;
  readonly valueSha256?: Uint8Array | undefined;
  readonly headers: Uint8Array | undefined;
  /** The length of all names and values, where not all headers are kept. */
  readonly headersBytes?: number | undefined;
  readonly rejection: Rejection;
}

/** What a batch adds to one row of hourly_aggregations. */
export interface HourDelta {
  /** Hours since 1970, UTC. */
  readonly hour: number;
  readonly eventType: string;
  readonly totalEvents: number;
  readonly totalDurationMs: bigint;
  readonly durationCount: number;
  readonly lateEvents: number;
  /** Events counted without a raw row (SAVE_RAW_EVENTS=false). */
  readonly unsavedEvents: number;
  /** Distinct users of this delta that the worker does not know to be stored for this hour and type yet. */
  readonly newUserCandidates: readonly string[];
}

/** Records that a producer could not deliver, all for one reason. */
export interface DeliveryFailure {
  /** An error code of Kafka or librdkafka. */
  readonly code: number;
  readonly message: string;
  readonly count: number;
}
