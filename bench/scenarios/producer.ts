// Measures how fast the producer program publishes events, compared with Kafka's own Java producer.
import { type Static, Type } from "typebox";
import { count } from "../../shared/text/format.ts";
import { formatTable } from "../../shared/text/table.ts";
import type { Scrape } from "../../test/support/metrics-text.ts";
import { type Program, startProducer } from "../../test/support/process.ts";
import type { Bench } from "../bench.ts";
import { RATES, rates, roundsOf, toDigits } from "../columns.ts";
import { JavaProducer, JavaRoundShape } from "../java-producer.ts";
import { cpuMicros } from "../processes.ts";
import { interleave, medianOf, medianRates, type RoundOptions } from "../rounds.ts";
import { endLoad } from "../load.ts";
import type { Scenario } from "../scenario.ts";
import { Cost, Count, Rate, closed } from "../shapes.ts";

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
type ProducerRound = Static<typeof ProducerRoundShape>;
type Producer = Static<typeof ProducerShape>;

export const producerScenario: Scenario<typeof ProducerShape> = {
  about: "publishes simulated events as fast as possible, compared with Kafka's own kafka-producer-perf-test",
  shape: ProducerShape,
  run: (bench, { events = 1_000_000, ...options }) => producerRounds(bench, events, options),
  lines,
};

const DEADLINE_MS = 5 * 60_000;

/** Both producers use one broker, acks=all, idempotence, lz4 and the same values, and are measured after a warm-up. */
async function producerRounds(bench: Bench, events: number, options: RoundOptions): Promise<Producer> {
  await using java = await JavaProducer.prepare(bench);
  const rounds = await interleave(
    "producer",
    {
      producer: () => producerRound(bench, events),
      java: () => java.round(events),
    },
    options,
  );
  const ours = rounds.map((round) => round.producer);
  const eventsPerSecond = medianRates(rounds, ["producer", "java"]);
  return {
    events,
    eventsPerSecond,
    ratioToJava: eventsPerSecond.producer / eventsPerSecond.java,
    megabytesPerSecond: medianOf(ours, "megabytesPerSecond"),
    cpuMicrosPerEvent: medianOf(ours, "cpuMicrosPerEvent"),
    brokerCpuMicrosPerEvent: medianOf(ours, "brokerCpuMicrosPerEvent"),
    errors: ours.reduce((sum, { errors }) => sum + errors, 0),
    rounds,
  };
}

/**
 * Runs the program until a tenth of the events is acknowledged, then measures the time until all are.
 * @throws Error unless it exits with 0 and the log contains exactly the acknowledged records
 */
async function producerRound(bench: Bench, events: number): Promise<ProducerRound> {
  const topic = await bench.topic();
  await using program = startProducer(
    { bootstrapServers: bench.kafka.bootstrapServers, topic },
    { PRODUCER_RATE: "unlimited" },
  );
  const port = await program.port();
  const reach = async (acknowledged: number) => {
    const scrape = await program.metrics(
      port,
      `${acknowledged} events are acknowledged`,
      (now) => acknowledgedIn(now) >= acknowledged,
      DEADLINE_MS,
    );
    return {
      acknowledged: acknowledgedIn(scrape),
      bytes: scrape.value("bytes_total", { direction: "out" }) ?? 0,
      errors: scrape.value("kafka_produce_errors_total") ?? 0,
      atMs: performance.now(),
      cpuMicros: await cpuMicros(program.pid),
      brokerCpuMicros: await cpuMicros(bench.kafka.pids[0]!),
    };
  };
  const before = await reach(Math.ceil(events / 10));
  const after = await reach(before.acknowledged + events);
  await assertDelivered(bench, topic, program);
  await bench.kafka.deleteTopic(topic);
  const sent = after.acknowledged - before.acknowledged;
  const seconds = (after.atMs - before.atMs) / 1000;
  return {
    eventsPerSecond: sent / seconds,
    megabytesPerSecond: (after.bytes - before.bytes) / 1e6 / seconds,
    cpuMicrosPerEvent: (after.cpuMicros - before.cpuMicros) / sent,
    brokerCpuMicrosPerEvent: (after.brokerCpuMicros - before.brokerCpuMicros) / sent,
    errors: after.errors,
  };
}

function acknowledgedIn(scrape: Scrape): number {
  return scrape.value("events_produced_total") ?? 0;
}

async function assertDelivered(bench: Bench, topic: string, program: Program): Promise<void> {
  const acknowledged = await endLoad(program);
  // One line for each partition: topic:partition:end.
  const ends = await bench.kafka.tool("org.apache.kafka.tools.GetOffsetShell", ["--topic", topic]);
  const inLog = ends
    .trim()
    .split("\n")
    .reduce((sum, line) => sum + Number(line.split(":")[2]), 0);
  if (acknowledged !== inLog) {
    throw new Error(`the broker acknowledged ${acknowledged} records, but its log contains ${inLog}`);
  }
}

function lines({ events, errors, rounds }: Producer): string[] {
  const ours = rounds.map(({ producer }) => producer);
  const java = rounds.map((round) => round.java);
  return [
    "",
    `producer: ${count(events)} events acknowledged (acks=all, idempotent, lz4); ${roundsOf(rounds)}; ${count(errors)} errors`,
    ...formatTable(
      ["", ...RATES, "MB/s", "µs CPU/event", "broker"],
      [
        [
          "producer",
          ...rates(ours),
          toDigits(medianOf(ours, "megabytesPerSecond"), 1),
          toDigits(medianOf(ours, "cpuMicrosPerEvent"), 2),
          toDigits(medianOf(ours, "brokerCpuMicrosPerEvent"), 2),
        ],
        [
          "kafka-producer-perf-test",
          ...rates(java),
          toDigits(medianOf(java, "megabytesPerSecond"), 1),
          "",
          "",
        ],
      ],
    ),
  ];
}
