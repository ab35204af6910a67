// Defines what `bun run bench --json` prints: CPU time in microseconds per event, memory in MiB.
import { type Static, Type } from "typebox";

const Rate = Type.Number({ exclusiveMinimum: 0 });
const Cost = Type.Number({ minimum: 0 });
const Count = Type.Integer({ minimum: 0 });
const closed = { additionalProperties: false };

const MachineShape = Type.Object(
  {
    cpu: Type.String(),
    cores: Type.Integer({ minimum: 1 }),
    memoryGiB: Rate,
    bun: Type.String(),
    librdkafka: Type.String(),
    postgres: Type.String(),
    kafka: Type.String(),
  },
  closed,
);

const costs = {
  clientCpuMicrosPerEvent: Cost,
  postgresCpuMicrosPerEvent: Cost,
  brokerCpuMicrosPerEvent: Cost,
  /** The peak of the consumer. */
  rssMiB: Rate,
};

const ConsumerRoundShape = Type.Object({ eventsPerSecond: Rate, ...costs }, closed);

const CopyRoundShape = Type.Object(
  { eventsPerSecond: Rate, clientCpuMicrosPerEvent: Cost, postgresCpuMicrosPerEvent: Cost },
  closed,
);

const DrainRoundShape = Type.Object(
  { consumer: ConsumerRoundShape, unnest: ConsumerRoundShape, copy: CopyRoundShape },
  closed,
);

/** The costs are those of the consumer; the rounds have those of the other variants. */
const DrainShape = Type.Object(
  {
    events: Count,
    workers: Type.Integer({ minimum: 1 }),
    eventsPerSecond: Type.Object({ consumer: Rate, unnest: Rate, copy: Rate }, closed),
    ratioToCopy: Rate,
    ...costs,
    rounds: Type.Array(DrainRoundShape, { minItems: 1 }),
  },
  closed,
);

/** Megabytes count record values before compression. */
const ProducerRoundShape = Type.Object(
  {
    eventsPerSecond: Rate,
    megabytesPerSecond: Rate,
    cpuMicrosPerEvent: Cost,
    brokerCpuMicrosPerEvent: Cost,
    errors: Count,
  },
  closed,
);

const JavaRoundShape = Type.Object({ eventsPerSecond: Rate, megabytesPerSecond: Rate }, closed);

/** The costs are those of our producer; the errors are those of all rounds. */
const ProducerShape = Type.Object(
  {
    events: Count,
    eventsPerSecond: Type.Object({ producer: Rate, java: Rate }, closed),
    ratioToJava: Rate,
    megabytesPerSecond: Rate,
    cpuMicrosPerEvent: Cost,
    brokerCpuMicrosPerEvent: Cost,
    errors: Count,
    rounds: Type.Array(Type.Object({ producer: ProducerRoundShape, java: JavaRoundShape }, closed), {
      minItems: 1,
    }),
  },
  closed,
);

const FormShape = Type.Object(
  {
    form: Type.String(),
    bytesPerEvent: Rate,
    eventsPerSecond: Rate,
    ...costs,
    rounds: Type.Array(ConsumerRoundShape, { minItems: 1 }),
  },
  closed,
);

const FormsShape = Type.Object({ events: Count, forms: Type.Array(FormShape) }, closed);

const DuplicateShareShape = Type.Object(
  {
    /** The share of events that repeat an earlier event_id. */
    share: Type.Number({ exclusiveMinimum: 0, exclusiveMaximum: 1 }),
    duplicates: Count,
    eventsPerSecond: Type.Object({ consumer: Rate, unnest: Rate }, closed),
    ratioToUnnest: Rate,
    rounds: Type.Array(Type.Object({ consumer: ConsumerRoundShape, unnest: ConsumerRoundShape }, closed), {
      minItems: 1,
    }),
  },
  closed,
);

const DuplicatesShape = Type.Object({ events: Count, shares: Type.Array(DuplicateShareShape) }, closed);

const HostileShareShape = Type.Object(
  {
    /** The share of hostile records; 0 is the clean topic that the others are compared with. */
    share: Type.Number({ minimum: 0, maximum: 1 }),
    /** What became of the records, as published: their sum is the number of records. */
    stored: Count,
    duplicates: Count,
    deadLetters: Count,
    bytesPerRecord: Rate,
    eventsPerSecond: Rate,
    /** The median of the ratios to the clean rate of the same round. */
    ratioToClean: Rate,
    ...costs,
    rounds: Type.Array(ConsumerRoundShape, { minItems: 1 }),
  },
  closed,
);

const HostileShape = Type.Object(
  { records: Count, kinds: Count, largeOfEach: Count, shares: Type.Array(HostileShareShape) },
  closed,
);

/** The time from publishing an event until a reader sees it in its hour. */
const LatencyShape = Type.Object(
  { ratePerSecond: Rate, samples: Count, p50Ms: Rate, p90Ms: Rate, p99Ms: Rate },
  closed,
);

const IdleShape = Type.Object(
  {
    seconds: Rate,
    /** 100 is one core. */
    cpuPercent: Cost,
    lagByPartition: Type.Array(Count),
  },
  closed,
);

const RebuildShape = Type.Object(
  {
    /** Rows of raw_events that were compared. */
    events: Count,
    /** Rows of hourly_aggregations that were changed by hand, and that were found and mended: the same ones. */
    changed: Count,
    found: Count,
    slices: Count,
    seconds: Rate,
    eventsPerSecondMeanwhile: Rate,
  },
  closed,
);

const RewindShape = Type.Object(
  {
    events: Count,
    /** Of those that were read again. */
    stored: Count,
    duplicates: Count,
    eventsPerSecond: Rate,
  },
  closed,
);

const LettersShape = Type.Object(
  {
    /** Mended and stored by one replay, its start included. */
    letters: Count,
    lettersPerSecond: Rate,
    /** Letters in the table while the newest are listed. */
    listed: Count,
    listSeconds: Rate,
  },
  closed,
);

const RetentionRoundShape = Type.Object(
  {
    /** While hours are cut. */
    eventsPerSecond: Rate,
    clientCpuMicrosPerEvent: Cost,
    postgresCpuMicrosPerEvent: Cost,
    pruned: Count,
    /** Of raw_events with its indexes, after each hour. */
    megabytes: Type.Array(Count),
    longestStepMs: Cost,
  },
  closed,
);

const RetentionShape = Type.Object(
  {
    /** Events a second that are published. */
    rate: Rate,
    cuts: Count,
    without: RetentionRoundShape,
    with: RetentionRoundShape,
    /** Of the table that is checked. */
    events: Count,
    checkSeconds: Rate,
    checkLastDaySeconds: Rate,
    checkLastHourSeconds: Rate,
  },
  closed,
);

/** The machine, and one key for each scenario that ran. */
export const BenchReportShape = Type.Object(
  {
    machine: MachineShape,
    drain: Type.Optional(DrainShape),
    producer: Type.Optional(ProducerShape),
    forms: Type.Optional(FormsShape),
    duplicates: Type.Optional(DuplicatesShape),
    hostile: Type.Optional(HostileShape),
    latency: Type.Optional(LatencyShape),
    idle: Type.Optional(IdleShape),
    rebuild: Type.Optional(RebuildShape),
    rewind: Type.Optional(RewindShape),
    letters: Type.Optional(LettersShape),
    retention: Type.Optional(RetentionShape),
  },
  closed,
);

export type BenchReport = Static<typeof BenchReportShape>;
export type Machine = Static<typeof MachineShape>;
export type ConsumerRound = Static<typeof ConsumerRoundShape>;
export type CopyRound = Static<typeof CopyRoundShape>;
export type Drain = Static<typeof DrainShape>;
export type DrainRound = Static<typeof DrainRoundShape>;
export type Producer = Static<typeof ProducerShape>;
export type ProducerRound = Static<typeof ProducerRoundShape>;
export type JavaRound = Static<typeof JavaRoundShape>;
export type Form = Static<typeof FormShape>;
export type Forms = Static<typeof FormsShape>;
export type DuplicateShare = Static<typeof DuplicateShareShape>;
export type Duplicates = Static<typeof DuplicatesShape>;
export type HostileShare = Static<typeof HostileShareShape>;
export type Hostile = Static<typeof HostileShape>;
export type Latency = Static<typeof LatencyShape>;
export type Idle = Static<typeof IdleShape>;
export type Rebuild = Static<typeof RebuildShape>;
export type Rewind = Static<typeof RewindShape>;
export type Letters = Static<typeof LettersShape>;
export type RetentionRound = Static<typeof RetentionRoundShape>;
export type Retention = Static<typeof RetentionShape>;
