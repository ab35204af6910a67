// Publishes events at a steady rate beside a consumer, and measures how long an event takes to its hour.
import type { TestPipeline } from "../test/support/pipeline.ts";
import { type Program, startProducer } from "../test/support/process.ts";

const PROBE_DEADLINE_MS = 30_000;
/** The group has formed, and the compilers of the engine are nearly done. */
const WARM_UP_SECONDS = 5;

/** Starts the producer program at a rate and waits until its events have been stored for some seconds. */
export async function startLoad(pipeline: TestPipeline, ratePerSecond: number): Promise<Program> {
  const load = startProducer(pipeline, { PRODUCER_RATE: String(ratePerSecond) });
  const warm = ratePerSecond * WARM_UP_SECONDS;
  await pipeline.until("the load flows", async () => (await pipeline.consumed()) > warm);
  return load;
}

/** @returns the records that the broker has acknowledged @throws Error unless the program ends with 0 */
export async function endLoad(load: Program): Promise<number> {
  load.signal("SIGTERM");
  const code = await load.exit();
  if (code !== 0) throw new Error(`the producer ended with ${code}\n${load.output}`);
  return Number(/"acknowledged":(\d+)[^\n]*"msg":"finished"/.exec(load.output)?.[1]);
}

/**
 * Publishes an event of a type that no other has, and waits for its row in hourly_aggregations.
 * @returns how long that took, in ms
 */
export async function probe(pipeline: TestPipeline, eventType: string): Promise<number> {
  const { sql } = pipeline.database;
  const startedAt = performance.now();
  const sent = pipeline.publishValue(
    JSON.stringify({
      event_id: eventType,
      user_id: "probe",
      event_type: eventType,
      timestamp: new Date().toISOString(),
      event_data: {},
    }),
  );
  for (;;) {
    const [row] = await sql`select 1 as seen from hourly_aggregations where event_type = ${eventType}`;
    if (row !== undefined) break;
    if (performance.now() - startedAt > PROBE_DEADLINE_MS) {
      throw new Error(`${eventType} did not appear in hourly_aggregations within 30 s`);
    }
    await Bun.sleep(1);
  }
  const tookMs = performance.now() - startedAt;
  await sent;
  return tookMs;
}
