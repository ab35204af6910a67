// Measures what settings of PostgreSQL gain, with ids led by time and with random ones.
import { type Static, Type } from "typebox";
import { count } from "../../shared/text/format.ts";
import { formatTable } from "../../shared/text/table.ts";
import type { Bench, BenchRecord } from "../bench.ts";
import { RATES, roundsOf, toDigits } from "../columns.ts";
import { consumerRound, type TopicContent } from "../consumer-round.ts";
import { captureRows, copyRound, type SentRows } from "../copy.ts";
import { simulated, withRandomIds } from "../records.ts";
import { interleave, type RoundOptions } from "../rounds.ts";
import type { Scenario } from "../scenario.ts";
import { ConsumerRoundShape, CopyRoundShape, Count, Rate, closed } from "../shapes.ts";
import { median } from "../statistics.ts";

/** PostgreSQL's own defaults, but for the size of the WAL: at 1GB its checkpoints would be half of what is measured. */
const BASE = { max_wal_size: "4GB" };
const BASE_NAME = "defaults, max_wal_size 4GB";
const CANDIDATES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  [BASE_NAME]: BASE,
  "max_wal_size 1GB": { max_wal_size: "1GB" },
  "shared_buffers 512MB": { ...BASE, shared_buffers: "512MB" },
  "shared_buffers 1GB": { ...BASE, shared_buffers: "1GB" },
  "wal_buffers 64MB": { ...BASE, wal_buffers: "64MB" },
  "wal_writer_flush_after 16MB": { ...BASE, wal_writer_flush_after: "16MB" },
  "wal_compression pglz": { ...BASE, wal_compression: "pglz" },
};

const SettingsRoundShape = Type.Object(
  {
    /** Of the consumer with ids led by time. */
    eventsPerSecond: Rate,
    timeLed: Type.Object({ consumer: ConsumerRoundShape, copy: CopyRoundShape }, closed),
    random: Type.Object({ consumer: ConsumerRoundShape, copy: CopyRoundShape }, closed),
  },
  closed,
);
const SettingsShape = Type.Object(
  {
    events: Count,
    candidates: Type.Array(
      Type.Object({ name: Type.String(), rounds: Type.Array(SettingsRoundShape, { minItems: 1 }) }, closed),
    ),
  },
  closed,
);
type SettingsRound = Static<typeof SettingsRoundShape>;
type Settings = Static<typeof SettingsShape>;
type RateOf = (round: SettingsRound) => number;

/** A topic, and what a consumer sends to COPY for it. */
interface Filled {
  readonly content: TopicContent;
  readonly sent: SentRows;
}

export const settingsScenario: Scenario<typeof SettingsShape> = {
  about:
    "drains with candidate settings of PostgreSQL, each on a new server, beside the bare COPY: what each\n" +
    "gains, with ids led by time and with random ones",
  shape: SettingsShape,
  run: (bench, { events = 2_000_000, ...options }) => settingsRounds(bench, events, options),
  lines,
};

async function settingsRounds(bench: Bench, events: number, options: RoundOptions): Promise<Settings> {
  const timeLed = await filled(bench, simulated(events), events);
  const random = await filled(bench, withRandomIds(simulated(events)), events);
  const variants = Object.fromEntries(
    Object.entries(CANDIDATES).map(([name, settings]) => [
      name,
      () => bench.withSettings(settings, (server) => settingsRound(server, timeLed, random)),
    ]),
  );
  const rounds = await interleave<Record<string, SettingsRound>>("settings", variants, options);
  for (const { content } of [timeLed, random]) await bench.kafka.deleteTopic(content.topic);
  return {
    events,
    candidates: Object.keys(CANDIDATES).map((name) => ({
      name,
      rounds: rounds.map((round) => round[name]!),
    })),
  };
}

async function filled(bench: Bench, records: Iterable<BenchRecord>, events: number): Promise<Filled> {
  const topic = await bench.topic();
  await bench.fill(topic, records);
  const content = { topic, records: events, duplicates: 0 };
  return { content, sent: await captureRows(bench, content) };
}

async function settingsRound(server: Bench, timeLed: Filled, random: Filled): Promise<SettingsRound> {
  const measure = async ({ content, sent }: Filled) => ({
    consumer: await consumerRound(server, content),
    copy: await copyRound(server, sent),
  });
  const [ofTimeLed, ofRandom] = [await measure(timeLed), await measure(random)];
  return { eventsPerSecond: ofTimeLed.consumer.eventsPerSecond, timeLed: ofTimeLed, random: ofRandom };
}

const FIGURES: readonly RateOf[] = [
  ({ timeLed }) => timeLed.consumer.eventsPerSecond,
  ({ timeLed }) => timeLed.copy.eventsPerSecond,
  ({ random }) => random.consumer.eventsPerSecond,
  ({ random }) => random.copy.eventsPerSecond,
];

function lines({ events, candidates }: Settings): string[] {
  const base = candidates[0]!.rounds;
  return [
    "",
    `settings: ${count(events)} events; the gain is the median of the ratios to the first line in the same round; ${roundsOf(base)}`,
    ...formatTable(
      ["", RATES[0]!, "gain", "COPY", "gain", "random ids", "gain", "COPY", "gain"],
      candidates.map(({ name, rounds }) => [
        name,
        ...FIGURES.flatMap((figure) => [
          Math.round(median(rounds.map(figure))),
          toDigits(gain(rounds, base, figure), 2),
        ]),
      ]),
    ),
  ];
}

/** The median of the ratios to the base of the same round. */
function gain(rounds: readonly SettingsRound[], base: readonly SettingsRound[], figure: RateOf): number {
  return median(rounds.map((round, index) => figure(round) / figure(base[index]!)));
}
