// Measures how fast a topic with hostile records is drained, compared with a clean one.
import type { Verdict } from "../../test/support/hostile/hostile-kind.ts";
import { HOSTILE_KINDS } from "../../test/support/hostile/hostile-kinds.ts";
import { hostileRecords, sizeOf } from "../../test/support/hostile/hostile-records.ts";
import type { TestDatabase } from "../../test/support/postgres.ts";
import type { RawRecord } from "../../test/support/raw-producer.ts";
import { type Bench, PARTITIONS, bytesOf } from "../bench.ts";
import { consumerRound } from "../consumer-round.ts";
import { simulated } from "../records.ts";
import type { ConsumerRound, Hostile } from "../report.ts";
import { interleave, median, medianCosts, medianOf, type RoundOptions } from "../rounds.ts";

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
export async function hostile(bench: Bench, events: number, options: RoundOptions): Promise<Hostile> {
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
  const roundsOf = (share: number) => rounds.map((round) => round[nameOf(share)]!);
  const clean = roundsOf(CLEAN);
  return {
    records: events,
    kinds: HOSTILE_KINDS.length,
    largeOfEach: Math.ceil(events / RECORDS_PER_LARGE),
    shares: SHARES.map((share) => {
      const { stored, duplicates, deadLetters, bytes } = contents.get(share)!;
      const ofShare = roundsOf(share);
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
