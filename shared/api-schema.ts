// Describes the data that /api and the page show: the single source of the types and of their run-time checks.
import { type Static, type TSchema, Type } from "typebox";

// Times are milliseconds since 1970 (…AtMs, …SinceMs), durations are seconds, rates are per second.

const nullable = <Schema extends TSchema>(schema: Schema) => Type.Union([schema, Type.Null()]);
const count = Type.Integer({ minimum: 0 });
const rate = Type.Number({ minimum: 0 });

export const StatusSchema = Type.Object(
  {
    program: Type.Union([Type.Literal("consumer"), Type.Literal("producer")]),
    version: Type.String(),
    startedAtMs: Type.Number(),
    state: Type.Union([
      Type.Literal("starting"),
      Type.Literal("well"),
      Type.Literal("attention"),
      Type.Literal("trouble"),
      Type.Literal("stopping"),
    ]),
    headline: Type.String({ description: "the state in words" }),
    reasons: Type.Array(Type.String(), { description: "why it is in this state, one sentence each" }),
    facts: Type.Array(Type.Object({ name: Type.String(), value: Type.String() }), {
      description: "what it works on: topics, group, source",
    }),
  },
  { description: "whether the program is well, and why not" },
);
export type Status = Static<typeof StatusSchema>;

const seconds = Type.Number({ minimum: 0 });
export const QuantilesSchema = Type.Object({ p50: seconds, p95: seconds, p99: seconds });
/** In seconds. */
export type Quantiles = Static<typeof QuantilesSchema>;

export const FlowPointSchema = Type.Object({
  atMs: Type.Number(),
  consumedPerSecond: rate,
  deadLettersPerSecond: rate,
  lagRecords: Type.Union([count, Type.Null()], { description: "null while it is unknown" }),
  processing: Type.Union([QuantilesSchema, Type.Null()], {
    description: "seconds from a record's receipt to its COMMIT, over the last 10 s",
  }),
  age: Type.Union([QuantilesSchema, Type.Null()], {
    description: "seconds from an event's timestamp to its COMMIT, over the last 10 s",
  }),
});
export type FlowPoint = Static<typeof FlowPointSchema>;

export const FlowSchema = Type.Object(
  {
    now: FlowPointSchema,
    totals: Type.Object(
      {
        consumed: count,
        stored: count,
        duplicates: count,
        deadLetters: count,
      },
      {
        description: "records of this process since its start; a record counts once its COMMIT is confirmed",
      },
    ),
  },
  { description: "current rates, latencies and lag of this process" },
);
export type Flow = Static<typeof FlowSchema>;

export const HistorySchema = Type.Array(FlowPointSchema, {
  description: "rates, latencies and lag of each second of the last five minutes, oldest first",
});

export const WorkersSchema = Type.Array(
  Type.Object({
    worker: count,
    state: Type.Union([
      Type.Literal("starting"),
      Type.Literal("joining"),
      Type.Literal("reading"),
      Type.Literal("paused"),
      Type.Literal("silent"),
    ]),
    pausedBecause: nullable(Type.String()),
    hasDatabase: Type.Boolean(),
    partitions: Type.Array(
      Type.Object({
        topic: Type.String(),
        partition: count,
        state: Type.String({
          description: "awaiting_offset, fetching, unreadable, out_of_range or over_limit",
        }),
        storedOffset: nullable(count),
        endOffset: nullable(count),
        lag: nullable(count),
      }),
    ),
  }),
  { description: "the worker threads of this process and the partitions of each" },
);
export type Workers = Static<typeof WorkersSchema>;

export const SourceSchema = Type.Object({
  state: Type.Union([Type.Literal("waiting"), Type.Literal("current"), Type.Literal("away")]),
  sinceMs: Type.Number({ description: "when this state was first seen" }),
  readAtMs: Type.Union([Type.Number(), Type.Null()], {
    description:
      "when the figures of a source that is away were read; null: there are none, or they are current",
  }),
  reason: Type.Union([Type.String(), Type.Null()], { description: "why the source is away" }),
});
/** Whether figures from another program are current. */
export type Source = Static<typeof SourceSchema>;

const recordCounts = {
  consumed: count,
  deleted: Type.Integer({
    minimum: 0,
    description: "offsets that Kafka deleted before they were read: a loss",
  }),
  gaps: Type.Integer({
    minimum: 0,
    description: "offsets that held no record: transaction markers, compaction",
  }),
  stored: count,
  duplicates: count,
  deadLettered: count,
  discarded: Type.Integer({ minimum: 0, description: "of deadLettered: discarded by a person" }),
  replayed: Type.Integer({
    minimum: 0,
    description: "dead letters that were replayed, and count as stored or duplicates since",
  }),
};
export const LedgerSchema = Type.Object(
  {
    database: SourceSchema,
    balances: Type.Boolean({
      description:
        "true if for every partition consumed = stored + duplicates + deadLettered and nextOffset - firstOffset = consumed + deleted + gaps",
    }),
    totals: Type.Object(recordCounts),
    partitions: Type.Array(
      Type.Object({
        topic: Type.String(),
        topicId: Type.String(),
        partition: count,
        reading: Type.Integer({
          minimum: 0,
          description: "counts up when a log was cut, and is read again from there",
        }),
        firstOffset: count,
        nextOffset: count,
        ...recordCounts,
        updatedAtMs: Type.Number(),
        balances: Type.Boolean(),
      }),
    ),
  },
  { description: "the stored offsets of all processes, and what became of every record below them" },
);
export type Ledger = Static<typeof LedgerSchema>;

export const HoursSchema = Type.Object(
  {
    database: SourceSchema,
    hours: Type.Array(
      Type.Object({
        startMs: Type.Number(),
        isClosed: Type.Boolean(),
        types: Type.Array(
          Type.Object({
            eventType: Type.String(),
            events: count,
            uniqueUsers: count,
            averageSeconds: nullable(Type.Number()),
            lateEvents: count,
          }),
          { description: "the ten most frequent types, the most frequent first" },
        ),
        others: Type.Union([Type.Object({ types: count, events: count }), Type.Null()], {
          description: "the rarer types together; null: there are none",
        }),
      }),
      { description: "the newest 24 hours (UTC) that have events, oldest first" },
    ),
  },
  { description: "events, distinct users and average durations by hour and event type" },
);
export type Hours = Static<typeof HoursSchema>;

export const PayloadPreviewSchema = Type.Object({
  form: Type.Union([Type.Literal("text"), Type.Literal("hex")], {
    description: "text if the bytes are UTF-8, else hexadecimal",
  }),
  shown: Type.String({ description: "the first bytes, in this form" }),
  bytes: Type.Integer({ minimum: 0, description: "the full size" }),
  keptBytes: Type.Integer({
    minimum: 0,
    description: "what dead_letter_events keeps: less than the full size of a payload over 1 MiB",
  }),
  isCut: Type.Boolean({ description: "true if there are more bytes than shown" }),
});
/** The first bytes of a payload as text that is safe to show; never as markup. */
export type PayloadPreview = Static<typeof PayloadPreviewSchema>;

const deadLetterFields = {
  topic: Type.String(),
  topicId: Type.String(),
  partition: count,
  reading: Type.Integer({ minimum: 0, description: "of the partition, as in the ledger" }),
  offset: count,
  stage: Type.String(),
  reason: Type.String(),
  error: Type.String(),
  firstSeenAtMs: Type.Number(),
  state: Type.String({
    description: "open; stored or duplicate: what a replay made of it; discarded: closed by a person",
  }),
  value: Type.Union([PayloadPreviewSchema, Type.Null()], { description: "null: the record is a tombstone" }),
};
export const DeadLettersSchema = Type.Object(
  {
    database: SourceSchema,
    total: Type.Integer({ minimum: 0, description: "of all processes, as in the ledger" }),
    discarded: Type.Integer({ minimum: 0, description: "of the total: discarded by a person" }),
    replayed: Type.Integer({ minimum: 0, description: "beside the total: stored or duplicates since" }),
    byReason: Type.Array(Type.Object({ reason: Type.String(), count }), {
      description: "of this process since its start, the most frequent reason first",
    }),
    newest: Type.Array(Type.Object(deadLetterFields)),
  },
  { description: "records that cannot be stored: how many, why, and the newest 20" },
);
export type DeadLetters = Static<typeof DeadLettersSchema>;

export const DeadLetterSchema = Type.Object(
  {
    ...deadLetterFields,
    key: nullable(PayloadPreviewSchema),
    headers: nullable(PayloadPreviewSchema),
    valueSha256: nullable(
      Type.String({ description: "hexadecimal; of a value that is too large to be kept whole" }),
    ),
    attempts: Type.Integer({ minimum: 0, description: "replays that have judged it" }),
    changedAtMs: nullable(Type.Number({ description: "when it was last judged, or discarded" })),
    attemptError: nullable(Type.String({ description: "why the last replay has rejected it" })),
    eventId: nullable(Type.String({ description: "the event that it became" })),
    mendedValue: nullable(PayloadPreviewSchema),
    discardReason: nullable(Type.String()),
  },
  { description: "one dead letter, with the first 8 KiB of its value" },
);
export type DeadLetter = Static<typeof DeadLetterSchema>;
/** The position of a dead letter's record in Kafka. */
export type DeadLetterKey = Pick<DeadLetter, "topic" | "topicId" | "partition" | "reading" | "offset">;

export const AlertsSchema = Type.Object(
  {
    own: Type.Array(
      Type.Object({
        type: Type.String(),
        severity: Type.Union([Type.Literal("warning"), Type.Literal("critical")]),
        summary: Type.String(),
        startedAtMs: Type.Number(),
        endedAtMs: nullable(Type.Number()),
      }),
      { description: "alerts of this process: the active ones, then those that ended last" },
    ),
    prometheus: Type.Object({
      url: Type.String(),
      source: SourceSchema,
      alerts: Type.Array(
        Type.Object({
          name: Type.String(),
          state: Type.Union([Type.Literal("pending"), Type.Literal("firing")]),
          severity: Type.String(),
          summary: Type.String(),
          description: Type.String({ description: "the details, with the measured value" }),
          sinceMs: nullable(Type.Number()),
          runbook: Type.Union([Type.String(), Type.Null()], { description: "where to read what to do" }),
          runbookUrl: Type.Union([Type.String(), Type.Null()], {
            description: "the runbook if it is an http(s) link",
          }),
        }),
      ),
    }),
  },
  { description: "the alerts of this process and of Prometheus" },
);
export type Alerts = Static<typeof AlertsSchema>;

export const ProductionPointSchema = Type.Object({
  atMs: Type.Number(),
  producedPerSecond: rate,
  failedPerSecond: rate,
  bytesPerSecond: rate,
  outstanding: Type.Integer({ minimum: 0, description: "records sent and not acknowledged yet" }),
});
export type ProductionPoint = Static<typeof ProductionPointSchema>;

export const ProductionSchema = Type.Object(
  {
    now: ProductionPointSchema,
    totals: Type.Object({ acknowledged: count, failed: count, bytes: count }),
    types: Type.Array(Type.Object({ eventType: Type.String(), events: count }), {
      description: "acknowledged records by event type, the most frequent 20, those first",
    }),
    lastFailure: nullable(Type.String()),
  },
  { description: "what this producer has written to Kafka" },
);
export type Production = Static<typeof ProductionSchema>;

export const ProductionHistorySchema = Type.Array(ProductionPointSchema, {
  description: "rates of each second of the last five minutes, oldest first",
});

/** The sections of the consumer's console. Each is served as GET /api/<name> and as an event of /events. */
export const CONSUMER_SECTIONS = {
  status: StatusSchema,
  flow: FlowSchema,
  history: HistorySchema,
  workers: WorkersSchema,
  ledger: LedgerSchema,
  hours: HoursSchema,
  "dead-letters": DeadLettersSchema,
  alerts: AlertsSchema,
} as const;

/** The sections of the producer's console, served in the same way. */
export const PRODUCER_SECTIONS = {
  status: StatusSchema,
  production: ProductionSchema,
  alerts: AlertsSchema,
  history: ProductionHistorySchema,
} as const;

type Values<Sections extends Readonly<Record<string, TSchema>>> = {
  readonly [Name in keyof Sections]: Static<Sections[Name]>;
};
export type ConsumerSections = Values<typeof CONSUMER_SECTIONS>;
export type ProducerSections = Values<typeof PRODUCER_SECTIONS>;
