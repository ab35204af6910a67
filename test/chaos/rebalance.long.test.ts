// Partitions move between processes while records flow; every record counts once.
import { expect } from "bun:test";
import { TestPipeline } from "../support/pipeline.ts";
import { kafkaTest } from "../support/requirements.ts";

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

kafkaTest(
  "two consumers with group.protocol=consumer, one of which is killed",
  async () => {
    await using pipeline = await TestPipeline.start({ env: { KAFKA_CONFIG_GROUP_PROTOCOL: "consumer" } });
    const killed = pipeline.consumer();
    const left = pipeline.consumer();
    await pipeline.settled();
    await pipeline.publish(20_000);
    await pipeline.until("both store", async () => {
      const stored = await Promise.all([killed, left].map((each) => each.total("events_consumed_total")));
      return stored.every((records) => records > 0);
    });
    await pipeline.publish(20_000);
    killed.program.signal("SIGKILL");
    await killed.program.exit();
    await pipeline.publish(2000);
    // The test's broker misses it after 5 s; the classic protocol would wait for the client's own 45 s.
    await pipeline.drained(30_000);
    await pipeline.settled();
    await left.drain();
    expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
  },
  120_000,
);
