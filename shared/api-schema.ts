// What /api and the page say of a program, described once: the types come from here, and so does the check of them.
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
  { description: "is it well?" },
);
export type Status = Static<typeof StatusSchema>;

export const QuantilesSchema = Type.Object({ p50: rate, p95: rate, p99: rate });
export type Quantiles = Static<typeof QuantilesSchema>;

export const FlowPointSchema = Type.Object({
  atMs: Type.Number(),
  consumedPerSecond: rate,
  storedPerSecond: rate,
  duplicatesPerSecond: rate,
  deadLettersPerSecond: rate,
  bytesPerSecond: rate,
  lagRecords: nullable(count),
  processing: Type.Union([QuantilesSchema, Type.Null()], {
    description: "seconds from the receipt of a record to its COMMIT, over the last 10 s",
  }),
  age: Type.Union([QuantilesSchema, Type.Null()], {
    description: "age of events at their COMMIT in seconds, over the last 10 s",
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
        late: count,
        bytes: count,
      },
      { description: "records of this process since it started, counted when their COMMIT was answered" },
    ),
    lastCommitAtMs: nullable(Type.Number()),
  },
  { description: "rates, latencies and lag of this process, now" },
);
export type Flow = Static<typeof FlowSchema>;

export const HistorySchema = Type.Array(FlowPointSchema, {
  description: "the same for each second of the last five minutes, oldest first",
});
export type History = Static<typeof HistorySchema>;

export const WorkersSchema = Type.Array(
  Type.Object({
    worker: count,
    state: Type.Union([
      Type.Literal("starting"),
      Type.Literal("joining"),
      Type.Literal("reading"),
      Type.Literal("paused"),
    ]),
    pausedBecause: nullable(Type.String()),
    hasDatabase: Type.Boolean(),
    partitions: Type.Array(
      Type.Object({
        topic: Type.String(),
        partition: count,
        state: Type.String({ description: "awaiting_offset, fetching, out_of_range or beyond_end" }),
        storedOffset: nullable(count),
        endOffset: nullable(count),
        lag: nullable(count),
      }),
    ),
  }),
  { description: "the worker threads of this process and the partitions that each reads" },
);
export type Workers = Static<typeof WorkersSchema>;

export const SourceSchema = Type.Object({
  state: Type.Union([Type.Literal("waiting"), Type.Literal("current"), Type.Literal("away")]),
  sinceMs: Type.Number({ description: "since when it is known to be in this state" }),
  readAtMs: Type.Union([Type.Number(), Type.Null()], {
    description: "away: when the figures that are told were read, null where there are none",
  }),
  reason: nullable(Type.String()),
});
/** Whether figures that come from elsewhere are current. */
export type Source = Static<typeof SourceSchema>;

const accountFields = {
  consumed: count,
  skipped: count,
  stored: count,
  duplicates: count,
  deadLettered: count,
};
export const LedgerSchema = Type.Object(
  {
    database: SourceSchema,
    balances: Type.Boolean({
      description:
        "for every partition consumed = stored + duplicates + dead-lettered, and next - first = consumed + skipped",
    }),
    totals: Type.Object(accountFields),
    partitions: Type.Array(
      Type.Object({
        topic: Type.String(),
        topicId: Type.String(),
        partition: count,
        firstOffset: count,
        nextOffset: count,
        ...accountFields,
        updatedAtMs: Type.Number(),
        balances: Type.Boolean(),
      }),
    ),
  },
  { description: "the stored offsets of all processes, and the account of every record below them" },
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
          { description: "the most frequent ones, those first" },
        ),
        others: nullable(
          Type.Object({ types: count, events: count }, { description: "the types beyond those" }),
        ),
      }),
      { description: "the newest 24 hours (UTC) that have events, oldest first" },
    ),
  },
  { description: "events, distinct users and durations by hour and event type" },
);
export type Hours = Static<typeof HoursSchema>;

export const ContentSchema = Type.Object({
  form: Type.Union([Type.Literal("text"), Type.Literal("hex")], {
    description: "text where the bytes are UTF-8, else hexadecimal",
  }),
  shown: Type.String({ description: "the beginning" }),
  bytes: Type.Integer({ minimum: 0, description: "the size of the whole" }),
  isCut: Type.Boolean(),
});
/** Bytes from outside, fit to be shown as text; never as markup. */
export type Content = Static<typeof ContentSchema>;

const deadLetterFields = {
  topic: Type.String(),
  topicId: Type.String(),
  partition: count,
  offset: count,
  stage: Type.String(),
  reason: Type.String(),
  error: Type.String(),
  firstSeenAtMs: Type.Number(),
  value: Type.Union([ContentSchema, Type.Null()], { description: "null: a tombstone" }),
};
export const DeadLettersSchema = Type.Object(
  {
    database: SourceSchema,
    total: Type.Integer({ minimum: 0, description: "all that the ledger counts" }),
    byReason: Type.Array(Type.Object({ reason: Type.String(), count }), {
      description: "those of this process since it started, the most frequent first",
    }),
    newest: Type.Array(Type.Object(deadLetterFields)),
  },
  { description: "records that can never be stored: how many, why, and the newest 20" },
);
export type DeadLetters = Static<typeof DeadLettersSchema>;

export const DeadLetterSchema = Type.Object(
  {
    ...deadLetterFields,
    key: nullable(ContentSchema),
    headers: nullable(ContentSchema),
  },
  { description: "one dead letter, with the first 8 KiB of its value" },
);
export type DeadLetter = Static<typeof DeadLetterSchema>;

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
      { description: "raised by this process: those that are on, then the last that ended" },
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
          description: Type.String({ description: "with its value" }),
          sinceMs: nullable(Type.Number()),
          runbook: Type.Union([Type.String(), Type.Null()], { description: "where it is told what to do" }),
          runbookUrl: Type.Union([Type.String(), Type.Null()], {
            description: "the same where it is a link",
          }),
        }),
      ),
    }),
  },
  { description: "what is wrong, as this process sees it and as Prometheus does" },
);
export type Alerts = Static<typeof AlertsSchema>;

export const ProductionPointSchema = Type.Object({
  atMs: Type.Number(),
  producedPerSecond: rate,
  failedPerSecond: rate,
  bytesPerSecond: rate,
  outstanding: Type.Integer({ minimum: 0, description: "sent and not acknowledged yet" }),
});
export type ProductionPoint = Static<typeof ProductionPointSchema>;

export const ProductionSchema = Type.Object(
  {
    now: ProductionPointSchema,
    totals: Type.Object({ acknowledged: count, failed: count, bytes: count }),
    types: Type.Array(Type.Object({ eventType: Type.String(), events: count }), {
      description: "acknowledged records by event type, the most frequent first",
    }),
    lastFailure: nullable(Type.String()),
  },
  { description: "what this producer has brought into Kafka" },
);
export type Production = Static<typeof ProductionSchema>;

export const ProductionHistorySchema = Type.Array(ProductionPointSchema, {
  description: "the same for each second of the last five minutes, oldest first",
});
export type ProductionHistory = Static<typeof ProductionHistorySchema>;

/** The sections of the consumer's console: each is GET /api/<name>, and an event of /events. */
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
