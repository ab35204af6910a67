// Measures the drain where PostgreSQL has a core for itself, compared with a bare COPY under the same conditions.
import { availableParallelism } from "node:os";
import { type Static, Type } from "typebox";
import { FatalError } from "../../shared/runtime/errors.ts";
import { count } from "../../shared/text/format.ts";
import { formatTable } from "../../shared/text/table.ts";
import type { Bench } from "../bench.ts";
import { COSTS, RATES, consumerCosts, copyCosts, rates, roundsOf, toDigits } from "../columns.ts";
import { consumerRound } from "../consumer-round.ts";
import { captureRows, copyRound } from "../copy.ts";
import { allCores, pin } from "../pin.ts";
import { simulated } from "../records.ts";
import { interleave, medianCosts, medianRates, type RoundOptions } from "../rounds.ts";
import type { Scenario } from "../scenario.ts";
import { ConsumerRoundShape, CopyRoundShape, Count, Rate, closed, costs } from "../shapes.ts";

const PinnedRoundShape = Type.Object({ consumer: ConsumerRoundShape, copy: CopyRoundShape }, closed);

/** The costs are those of the consumer. */
const PinnedShape = Type.Object(
  {
    events: Count,
    eventsPerSecond: Type.Object({ consumer: Rate, copy: Rate }, closed),
    ratioToCopy: Rate,
    ...costs,
    rounds: Type.Array(PinnedRoundShape, { minItems: 1 }),
  },
  closed,
);
type PinnedRound = Static<typeof PinnedRoundShape>;
type Pinned = Static<typeof PinnedShape>;

const CLIENT_CORES = [0];
const POSTGRES_CORES = [1];

export const pinnedScenario: Scenario<typeof PinnedShape> = {
  about:
    "drains a full topic with PostgreSQL on one core, and consumer and broker on another, compared with a\n" +
    "bare COPY whose client has that other core",
  shape: PinnedShape,
  run: (bench, { events = 1_000_000, ...options }) => pinnedRounds(bench, events, options),
  lines,
};

async function pinnedRounds(bench: Bench, events: number, options: RoundOptions): Promise<Pinned> {
  if (availableParallelism() < 2) throw new FatalError("pinned needs two cores: this machine has one");
  const topic = await bench.topic();
  await bench.fill(topic, simulated(events));
  const content = { topic, records: events, duplicates: 0 };
  const sent = await captureRows(bench, content);
  // This process is the client of the COPY, and the parent of the consumers.
  const clients = [process.pid, bench.kafka.pids[0]!];
  const servers = [bench.postgres.pid!];
  let rounds: PinnedRound[];
  try {
    await pin(clients, CLIENT_CORES);
    await pin(servers, POSTGRES_CORES);
    rounds = await interleave<PinnedRound>(
      "pinned",
      { consumer: () => consumerRound(bench, content), copy: () => copyRound(bench, sent) },
      options,
    );
  } finally {
    await pin([...clients, ...servers], allCores());
  }
  await bench.kafka.deleteTopic(topic);
  const eventsPerSecond = medianRates(rounds, ["consumer", "copy"]);
  return {
    events,
    eventsPerSecond,
    ratioToCopy: eventsPerSecond.consumer / eventsPerSecond.copy,
    ...medianCosts(rounds.map(({ consumer }) => consumer)),
    rounds,
  };
}

function lines({ events, ratioToCopy, rounds }: Pinned): string[] {
  const consumers = rounds.map(({ consumer }) => consumer);
  const copies = rounds.map(({ copy }) => copy);
  return [
    "",
    `pinned: ${count(events)} events, PostgreSQL on one core, the others on another; ${roundsOf(rounds)}; check holds after each`,
    ...formatTable(
      ["", ...RATES, "of COPY", ...COSTS],
      [
        ["consumer", ...rates(consumers), toDigits(ratioToCopy, 2), ...consumerCosts(consumers)],
        ["bare COPY", ...rates(copies), 1, ...copyCosts(copies)],
      ],
    ),
  ];
}
