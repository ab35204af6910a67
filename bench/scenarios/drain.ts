// Measures how fast a full topic is drained into PostgreSQL, compared with INSERT only and with a bare COPY.
import { type Static, Type } from "typebox";
import { count } from "../../shared/text/format.ts";
import { formatTable } from "../../shared/text/table.ts";
import { type Bench, WORKERS } from "../bench.ts";
import { COSTS, RATES, consumerCosts, copyCosts, rates, roundsOf, toDigits } from "../columns.ts";
import { INSERT_ONLY, consumerRound } from "../consumer-round.ts";
import { captureRows, copyRound } from "../copy.ts";
import { simulated } from "../records.ts";
import { interleave, medianCosts, medianRates, type RoundOptions } from "../rounds.ts";
import type { Scenario } from "../scenario.ts";
import { ConsumerRoundShape, CopyRoundShape, Count, Rate, closed, costs } from "../shapes.ts";

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
type DrainRound = Static<typeof DrainRoundShape>;
type Drain = Static<typeof DrainShape>;

export const drainScenario: Scenario<typeof DrainShape> = {
  about:
    "drains a full topic, compared with INSERT only and with a bare COPY of the very bytes that\n" +
    "the consumer sends: events/s, CPU time per event of consumer, PostgreSQL and broker, memory",
  shape: DrainShape,
  run: (bench, { events = 1_000_000, ...options }) => drainRounds(bench, events, options),
  lines,
};

/** Fills one topic and drains it into a new database in each round. */
async function drainRounds(bench: Bench, events: number, options: RoundOptions): Promise<Drain> {
  const topic = await bench.topic();
  await bench.fill(topic, simulated(events));
  const content = { topic, records: events, duplicates: 0 };
  const sent = await captureRows(bench, content);
  const rounds = await interleave<DrainRound>(
    "drain",
    {
      consumer: () => consumerRound(bench, content),
      unnest: () => consumerRound(bench, content, INSERT_ONLY),
      copy: () => copyRound(bench, sent),
    },
    options,
  );
  await bench.kafka.deleteTopic(topic);
  const eventsPerSecond = medianRates(rounds, ["consumer", "unnest", "copy"]);
  return {
    events,
    workers: WORKERS,
    eventsPerSecond,
    ratioToCopy: eventsPerSecond.consumer / eventsPerSecond.copy,
    ...medianCosts(rounds.map(({ consumer }) => consumer)),
    rounds,
  };
}

function lines({ events, workers, eventsPerSecond, rounds }: Drain): string[] {
  const consumers = (["consumer", "unnest"] as const).map((variant) => {
    const ofVariant = rounds.map((round) => round[variant]);
    const share = eventsPerSecond[variant] / eventsPerSecond.copy;
    return [
      variant === "consumer" ? "consumer" : "consumer, INSERT only",
      ...rates(ofVariant),
      toDigits(share, 2),
      ...consumerCosts(ofVariant),
    ];
  });
  const copies = rounds.map(({ copy }) => copy);
  return [
    "",
    `drain: ${count(events)} events, a full topic to empty, ${workers} workers; ${roundsOf(rounds)}; check holds after each`,
    ...formatTable(
      ["", ...RATES, "of COPY", ...COSTS],
      [...consumers, ["bare COPY", ...rates(copies), 1, ...copyCosts(copies)]],
    ),
  ];
}
