// Partitions move between processes while records flow; every record counts once.
import { expect } from "bun:test";
import { TestPipeline } from "../harness/pipeline.ts";
import { kafkaTest } from "../harness/requirements.ts";

kafkaTest(
  "two consumers, while a third joins and leaves",
  async () => {
    await using pipeline = await TestPipeline.start();
    const first = pipeline.consumer();
    const second = pipeline.consumer();
    await pipeline.settled();
    const stop = new AbortController();
    const publishing = (async () => {
      while (!stop.signal.aborted) {
        await pipeline.publish(2000);
        await Bun.sleep(50);
      }
    })();

    const third = pipeline.consumer();
    await pipeline.until("the third reads", async () => (await third.total("events_consumed_total")) > 0);
    await third.drain();
    await pipeline.settled();
    stop.abort();
    await publishing;
    await pipeline.drained();

    expect(await first.total("rebalances_total")).toBeGreaterThan(2);
    await Promise.all([first.drain(), second.drain()]);
    expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
  },
  120_000,
);
