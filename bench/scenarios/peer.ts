// Measures how fast a full topic is drained, compared with Kafka Connect and Debezium's JDBC sink.
import { type Static, Type } from "typebox";
import { count } from "../../shared/text/format.ts";
import { formatTable } from "../../shared/text/table.ts";
import { type Bench, WORKERS } from "../bench.ts";
import { COSTS, RATES, consumerCosts, rates, roundsOf, toDigits } from "../columns.ts";
import { connectArtifacts, DEBEZIUM_VERSION } from "../connect.ts";
import { consumerRound } from "../consumer-round.ts";
import { peerRound, withTextData } from "../peer-round.ts";
import { simulated } from "../records.ts";
import { interleave, medianCosts, medianRates, type RoundOptions } from "../rounds.ts";
import type { Scenario } from "../scenario.ts";
import { ConsumerRoundShape, Count, Rate, closed, costs } from "../shapes.ts";

const VARIANTS = ["consumer", "connectWithKey", "connectWithoutKey"] as const;
const NAMES = {
  consumer: "consumer",
  connectWithKey: "Kafka Connect, upsert by event_id",
  connectWithoutKey: "Kafka Connect, insert without a key",
} as const;

const PeerRoundShape = Type.Object(
  {
    consumer: ConsumerRoundShape,
    connectWithKey: ConsumerRoundShape,
    connectWithoutKey: ConsumerRoundShape,
  },
  closed,
);

/** The costs are those of the consumer; the rounds have those of the peer. */
const PeerShape = Type.Object(
  {
    events: Count,
    debezium: Type.String(),
    eventsPerSecond: Type.Object({ consumer: Rate, connectWithKey: Rate, connectWithoutKey: Rate }, closed),
    ratioToConnectWithKey: Rate,
    ratioToConnectWithoutKey: Rate,
    ...costs,
    rounds: Type.Array(PeerRoundShape, { minItems: 1 }),
  },
  closed,
);
type PeerRound = Static<typeof PeerRoundShape>;
type Peer = Static<typeof PeerShape>;

export const peerScenario: Scenario<typeof PeerShape> = {
  about:
    `drains a full topic, compared with Kafka Connect and Debezium's JDBC sink ${DEBEZIUM_VERSION}, which\n` +
    "stores the same events with a primary key and without one; Maven fetches it once",
  shape: PeerShape,
  run: (bench, { events = 1_000_000, ...options }) => peerRounds(bench, events, options),
  lines,
};

async function peerRounds(bench: Bench, events: number, options: RoundOptions): Promise<Peer> {
  const artifacts = await connectArtifacts(options.say);
  const topic = await bench.topic();
  await bench.fill(topic, simulated(events));
  const content = { topic, records: events, duplicates: 0 };
  const records = () => withTextData(simulated(events));
  const rounds = await interleave<PeerRound>(
    "peer",
    {
      consumer: () => consumerRound(bench, content),
      connectWithKey: () => peerRound(bench, { artifacts, withKey: true, events, records }),
      connectWithoutKey: () => peerRound(bench, { artifacts, withKey: false, events, records }),
    },
    options,
  );
  await bench.kafka.deleteTopic(topic);
  const eventsPerSecond = medianRates(rounds, VARIANTS);
  return {
    events,
    debezium: DEBEZIUM_VERSION,
    eventsPerSecond,
    ratioToConnectWithKey: eventsPerSecond.consumer / eventsPerSecond.connectWithKey,
    ratioToConnectWithoutKey: eventsPerSecond.consumer / eventsPerSecond.connectWithoutKey,
    ...medianCosts(rounds.map(({ consumer }) => consumer)),
    rounds,
  };
}

function lines({ events, debezium, eventsPerSecond, rounds }: Peer): string[] {
  return [
    "",
    `peer: ${count(events)} events, ${WORKERS} workers or tasks, Debezium JDBC ${debezium}; ${roundsOf(rounds)}`,
    ...formatTable(
      ["", ...RATES, "consumer is", ...COSTS],
      VARIANTS.map((variant) => {
        const ofVariant = rounds.map((round) => round[variant]);
        const factor = eventsPerSecond.consumer / eventsPerSecond[variant];
        return [NAMES[variant], ...rates(ofVariant), toDigits(factor, 2), ...consumerCosts(ofVariant)];
      }),
    ),
  ];
}
