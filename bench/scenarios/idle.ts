// Measures the CPU time of a consumer that has nothing to do, and the lag that it reports.
import { type Static, Type } from "typebox";
import type { Bench } from "../bench.ts";
import { toDigits } from "../columns.ts";
import { cpuMicros } from "../processes.ts";
import { simulated } from "../records.ts";
import type { Scenario } from "../scenario.ts";
import { Cost, Count, Rate, closed } from "../shapes.ts";

const IdleShape = Type.Object(
  {
    seconds: Rate,
    /** 100 is one core. */
    cpuPercent: Cost,
    lagByPartition: Type.Array(Count),
  },
  closed,
);
type Idle = Static<typeof IdleShape>;

export const idleScenario: Scenario<typeof IdleShape> = {
  about: "the CPU time of a consumer that has nothing to do",
  shape: IdleShape,
  run: (bench) => measureIdle(bench),
  lines,
};

const SECONDS = 20;
/** Events that the consumer stores before it is idle. */
const EVENTS = 10_000;

async function measureIdle(bench: Bench): Promise<Idle> {
  await using pipeline = await bench.pipeline(await bench.topic());
  const consumer = pipeline.consumer();
  await pipeline.settled();
  await bench.fill(pipeline.topic, simulated(EVENTS));
  await pipeline.until("all events are stored", async () => (await pipeline.consumed()) >= EVENTS);
  // The consumer samples the lag every two seconds.
  await Bun.sleep(5000);
  const { pid } = consumer.program;
  const before = await cpuMicros(pid);
  await Bun.sleep(SECONDS * 1000);
  const micros = (await cpuMicros(pid)) - before;
  const lag = (await consumer.scrape()).find("kafka_consumer_lag");
  await consumer.drain();
  return {
    seconds: SECONDS,
    cpuPercent: micros / SECONDS / 10_000,
    lagByPartition: lag.map(({ value }) => value),
  };
}

function lines({ seconds, cpuPercent, lagByPartition }: Idle): string[] {
  return [
    "",
    `idle: ${toDigits(cpuPercent, 1)} % of one core over ${seconds} s, lag ${lagByPartition.reduce((sum, lag) => sum + lag, 0)}`,
  ];
}
