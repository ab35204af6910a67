// Measures how fast a topic with repeated event ids is drained, compared with INSERT only.
import { type Static, Type } from "typebox";
import { count } from "../../shared/text/format.ts";
import { formatTable } from "../../shared/text/table.ts";
import { seededRandom } from "../../test/support/seeded-random.ts";
import { type Bench, type BenchRecord, PARTITIONS } from "../bench.ts";
import { COSTS, RATES, consumerCosts, rates, roundsOf } from "../columns.ts";
import { INSERT_ONLY, consumerRound } from "../consumer-round.ts";
import { simulated } from "../records.ts";
import { interleave, medianRates, type RoundOptions } from "../rounds.ts";
import type { Scenario } from "../scenario.ts";
import { type ConsumerRound, ConsumerRoundShape, Count, Rate, closed } from "../shapes.ts";

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
type DuplicateShare = Static<typeof DuplicateShareShape>;
type Duplicates = Static<typeof DuplicatesShape>;

export const duplicatesScenario: Scenario<typeof DuplicatesShape> = {
  about: "drains topics in which 1 % and 10 % of the events repeat an event_id, compared with INSERT only",
  shape: DuplicatesShape,
  run: (bench, { events = 500_000, ...options }) => duplicateRounds(bench, events, options),
  lines,
};

const SHARES = [0.01, 0.1];
const SEED = 11;
/** Records of one partition between an event and its repetition that are nearly always in one batch. */
const SAME_BATCH = 50;
/** Records of the topic between an event and its repetition that are never in one batch. */
const OTHER_BATCH = 40_000;

/** Records of which a share repeats an earlier event. */
export interface RecordsWithDuplicates {
  readonly records: Iterable<BenchRecord>;
  /** The number of repetitions; right once all records were taken. */
  duplicates(): number;
}

/**
 * Simulated events of which some repeat an earlier event: a third each a recent one of the same partition (within a
 * batch), an old one of the same partition (across batches), and any one of another partition. The same in each run.
 */
export function withDuplicates(events: number, share: number): RecordsWithDuplicates {
  let repeated = 0;
  function* generate(): Generator<BenchRecord> {
    const random = seededRandom(SEED);
    const below = (most: number) => Math.floor(random() * most);
    const sent = Array.from({ length: PARTITIONS }, (): BenchRecord[] => []);
    for (const event of simulated(events)) {
      const partition = below(PARTITIONS);
      const own = sent[partition]!;
      const others = sent[(partition + 1 + below(PARTITIONS - 1)) % PARTITIONS]!;
      if (random() < share) {
        const far = own.length - Math.ceil(OTHER_BATCH / PARTITIONS);
        const earlier = [
          own[own.length - 1 - below(SAME_BATCH)],
          // A topic too short for an old event is drained in few batches anyway.
          own[below(far > 0 ? far : own.length)],
          others[below(others.length)],
        ][below(3)];
        if (earlier !== undefined) {
          repeated++;
          yield { ...earlier, partition };
          continue;
        }
      }
      const record = { ...event, partition };
      own.push(record);
      yield record;
    }
  }
  return { records: generate(), duplicates: () => repeated };
}

/** Fills one topic for each share; every round proves that each event is stored once. */
async function duplicateRounds(bench: Bench, events: number, options: RoundOptions): Promise<Duplicates> {
  const shares: DuplicateShare[] = [];
  for (const share of SHARES) shares.push(await ofShare(bench, events, share, options));
  return { events, shares };
}

async function ofShare(
  bench: Bench,
  events: number,
  share: number,
  options: RoundOptions,
): Promise<DuplicateShare> {
  const topic = await bench.topic();
  const filling = withDuplicates(events, share);
  await bench.fill(topic, filling.records);
  const content = { topic, records: events, duplicates: filling.duplicates() };
  const rounds = await interleave<{ consumer: ConsumerRound; unnest: ConsumerRound }>(
    `duplicates ${share * 100} %`,
    {
      consumer: () => consumerRound(bench, content),
      unnest: () => consumerRound(bench, content, INSERT_ONLY),
    },
    options,
  );
  await bench.kafka.deleteTopic(topic);
  const eventsPerSecond = medianRates(rounds, ["consumer", "unnest"]);
  return {
    share,
    duplicates: content.duplicates,
    eventsPerSecond,
    ratioToUnnest: eventsPerSecond.consumer / eventsPerSecond.unnest,
    rounds,
  };
}

function lines({ events, shares }: Duplicates): string[] {
  const rows = shares.flatMap(({ share, duplicates, rounds }) =>
    (["consumer", "unnest"] as const).map((variant) => {
      const ofVariant = rounds.map((round) => round[variant]);
      const name = `${share * 100} %, ${variant === "consumer" ? "consumer" : "INSERT only"}`;
      return [name, duplicates, ...rates(ofVariant), ...consumerCosts(ofVariant)];
    }),
  );
  return [
    "",
    `duplicates: ${count(events)} records; ${roundsOf(shares[0]?.rounds ?? [])}; check holds after each, duplicates as published`,
    ...formatTable(["", "duplicates", ...RATES, ...COSTS], rows),
  ];
}
