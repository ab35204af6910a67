// Measures the CPU time of a consumer that has nothing to do, and the lag that it reports.
import type { Bench } from "../bench.ts";
import { cpuMicros } from "../processes.ts";
import { simulated } from "../records.ts";
import type { Idle } from "../report.ts";

const SECONDS = 20;
/** Events that the consumer stores before it is idle. */
const EVENTS = 10_000;

export async function idle(bench: Bench): Promise<Idle> {
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
