import { TestPipeline } from "../support/pipeline.ts";
import { startPostgres } from "../support/postgres.ts";
import { kafkaTest } from "../support/requirements.ts";

kafkaTest(
  "a consumer with an idle worker is ready again after PostgreSQL was away",
  async () => {
    await using server = await startPostgres();
    await using pipeline = await TestPipeline.start({
      database: await server.database(),
      partitions: 1,
      env: { CONSUMER_WORKERS: "2", FLUSH_INTERVAL_SECONDS: "1" },
    });
    const consumer = pipeline.consumer();
    const port = await consumer.port();
    const isReady = async () => (await fetch(`http://127.0.0.1:${port}/readyz`)).ok;
    await pipeline.until("it is ready", isReady);
    await server.stop("fast");
    await pipeline.until("it is not ready", async () => !(await isReady()));
    await server.start();
    await pipeline.until("it is ready again", isReady);
    await consumer.drain();
  },
  180_000,
);
