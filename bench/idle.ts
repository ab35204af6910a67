// A consumer with nothing to do in; what that costs, and the lag that it reports, out.
import type { Bench } from "./bench.ts";
import { cpuMicros } from "./processes.ts";
import { simulated } from "./records.ts";
import type { Idle } from "./report.ts";

const SECONDS = 20;
/** It has worked before it rests. */
const EVENTS = 10_000;

export async function idle(bench: Bench): Promise<Idle> {
  await using pipeline = await bench.pipeline(await bench.topic());
  const consumer = pipeline.consumer();
  await pipeline.settled();
  await bench.fill(pipeline.topic, simulated(EVENTS));
  await pipeline.until("all is stored", async () => (await pipeline.consumed()) >= EVENTS);
  // The lag is looked at every two seconds.
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
