// Measures how fast a topic with hostile records is drained, compared with a clean one.
import { type Static, Type } from "typebox";
import { count } from "../../shared/text/format.ts";
import { formatTable } from "../../shared/text/table.ts";
import type { Verdict } from "../../test/support/hostile/hostile-kind.ts";
import { HOSTILE_KINDS } from "../../test/support/hostile/hostile-kinds.ts";
import { hostileRecords, LARGE_RECORD_BYTES, sizeOf } from "../../test/support/hostile/hostile-records.ts";
import type { TestDatabase } from "../../test/support/postgres.ts";
import type { RawRecord } from "../../test/support/raw-producer.ts";
import { type Bench, PARTITIONS, bytesOf } from "../bench.ts";
import { COSTS, RATES, consumerCosts, rates, roundsOf, toDigits } from "../columns.ts";
import { consumerRound } from "../consumer-round.ts";
import { simulated } from "../records.ts";
import { interleave, medianCosts, medianOf, type RoundOptions } from "../rounds.ts";
import type { Scenario } from "../scenario.ts";
import { type ConsumerRound, ConsumerRoundShape, Count, Rate, closed, costs } from "../shapes.ts";
import { median } from "../statistics.ts";

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
type Hostile = Static<typeof HostileShape>;

export const hostileScenario: Scenario<typeof HostileShape> = {
  about: "drains topics of which 0.1, 1, 10 and 100 % are hostile records, compared with a clean one",
  shape: HostileShape,
  run: (bench, { events = 200_000, ...options }) => hostileRounds(bench, events, options),
  lines,
};

const CLEAN = 0;
const SHARES = [CLEAN, 0.001, 0.01, 0.1, 1] as const;
/**
 * Each kind of large records comes once in so many records of a topic. They have up to a megabyte: in turn with the
 * others they would be nearly all bytes, and a topic of gigabytes.
 */
const RECORDS_PER_LARGE = 200_000;

/** What must become of the records of a topic. */
export interface HostileContent {
  records: number;
  stored: number;
  duplicates: number;
  deadLetters: number;
  /** Dead letters by reason. */
  readonly reasons: Record<string, number>;
  bytes: number;
}

const COUNT_OF = { stored: "stored", duplicate: "duplicates", "dead letter": "deadLetters" } as const;

/**
 * Simulated events of which a share, evenly spread, is replaced by hostile records, the kinds in turn. An event that
 * repeats an id follows the event with that id in the same partition: `duplicates` measures ids that come again later.
 *
 * @param content counts the records as they are taken
 */
export function* withHostileRecords(
  events: number,
  share: number,
  content: HostileContent,
): Generator<RawRecord> {
  const replacements = hostileRecords(Math.ceil(events / RECORDS_PER_LARGE));
  let partition = 0;
  let index = 0;
  for (const clean of bytesOf(simulated(events))) {
    const isHostile = Math.floor((index + 1) * share) > Math.floor(index * share);
    index++;
    let record = clean;
    let verdict: Pick<Verdict, "place"> = { place: "stored" };
    if (isHostile) {
      const { kind, record: raw } = replacements.next().value!;
      if (kind.repeatsId !== true) partition = (partition + 1) % PARTITIONS;
      record = { ...raw, partition };
      ({ verdict } = kind);
      if (kind.verdict.place === "dead letter") {
        const { reason } = kind.verdict;
        content.reasons[reason] = (content.reasons[reason] ?? 0) + 1;
      }
    }
    content.records++;
    content[COUNT_OF[verdict.place]]++;
    content.bytes += sizeOf(record);
    yield record;
  }
}

/** Fills one topic for each share; the rounds drain the topics in turn and prove that each record is in its place. */
async function hostileRounds(bench: Bench, events: number, options: RoundOptions): Promise<Hostile> {
  const contents = new Map<number, HostileContent & { readonly topic: string }>();
  for (const share of SHARES) {
    const topic = await bench.topic();
    const content = { topic, records: 0, stored: 0, duplicates: 0, deadLetters: 0, reasons: {}, bytes: 0 };
    await bench.fillRaw(topic, withHostileRecords(events, share, content));
    contents.set(share, content);
  }
  const variants = Object.fromEntries(
    SHARES.map((share) => {
      const content = contents.get(share)!;
      const proveReasons = (database: TestDatabase) => assertReasons(database, content);
      return [nameOf(share), () => consumerRound(bench, content, {}, proveReasons)];
    }),
  );
  const rounds = await interleave<Record<string, ConsumerRound>>("hostile", variants, options);
  for (const { topic } of contents.values()) await bench.kafka.deleteTopic(topic);
  const roundsWith = (share: number) => rounds.map((round) => round[nameOf(share)]!);
  const clean = roundsWith(CLEAN);
  return {
    records: events,
    kinds: HOSTILE_KINDS.length,
    largeOfEach: Math.ceil(events / RECORDS_PER_LARGE),
    shares: SHARES.map((share) => {
      const { stored, duplicates, deadLetters, bytes } = contents.get(share)!;
      const ofShare = roundsWith(share);
      return {
        share,
        stored,
        duplicates,
        deadLetters,
        bytesPerRecord: bytes / events,
        eventsPerSecond: medianOf(ofShare, "eventsPerSecond"),
        ratioToClean: median(
          ofShare.map(({ eventsPerSecond }, round) => eventsPerSecond / clean[round]!.eventsPerSecond),
        ),
        ...medianCosts(ofShare),
        rounds: ofShare,
      };
    }),
  };
}

function nameOf(share: number): string {
  return share === CLEAN ? "clean" : `${share * 100} %`;
}

/** @throws Error unless the dead letters have the reasons that they must have */
async function assertReasons({ sql }: TestDatabase, { reasons }: HostileContent): Promise<void> {
  const rows = await sql<{ reason: string; letters: number }[]>`
    select reason, count(*)::int as letters from dead_letter_events group by reason`;
  const found = Object.fromEntries(rows.map(({ reason, letters }) => [reason, letters]));
  if (Bun.deepEquals(found, reasons)) return;
  throw new Error(`dead letters ${JSON.stringify(found)}, but the topic contains ${JSON.stringify(reasons)}`);
}

function lines({ records, kinds, largeOfEach, shares }: Hostile): string[] {
  return [
    "",
    `hostile: ${count(records)} records, ${kinds} kinds in turn, at most ${largeOfEach} of a kind above ${count(LARGE_RECORD_BYTES)} bytes; ` +
      `${roundsOf(shares[0]?.rounds ?? [])}; check holds after each, every record in its place`,
    ...formatTable(
      ["", "stored", "duplicates", "dead letters", "bytes/record", ...RATES, "of clean", ...COSTS],
      shares.map(({ share, stored, duplicates, deadLetters, bytesPerRecord, ratioToClean, rounds }) => [
        share === 0 ? "clean" : `${share * 100} %`,
        stored,
        duplicates,
        deadLetters,
        Math.round(bytesPerRecord),
        ...rates(rounds),
        toDigits(ratioToClean, 2),
        ...consumerCosts(rounds),
      ]),
    ),
  ];
}
