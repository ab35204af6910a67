// Makes a worker thread hang, and freezes a whole consumer; every record counts once.
import { describe, expect } from "bun:test";
import { HUNG_SECONDS } from "../../workers/consumer/heartbeat.ts";
import { eventually } from "../support/eventually.ts";
import { HangingThread } from "../support/hanging-thread.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { kafkaTest } from "../support/requirements.ts";

/** The thread that hangs leaves no group: the other members miss it after its session. */
const SHORT_SESSION = { KAFKA_CONFIG_SESSION_TIMEOUT_MS: "6000", KAFKA_CONFIG_HEARTBEAT_INTERVAL_MS: "500" };

describe("a thread that hangs", () => {
  kafkaTest(
    "is reported while it owns nothing new to read, and then ends the process, whose other threads drain",
    async () => {
      using thread = new HangingThread();
      await using pipeline = await TestPipeline.start({ env: SHORT_SESSION });
      const consumer = pipeline.consumer(thread.env);
      await pipeline.settled();
      await pipeline.publish(2000);
      await pipeline.drained();
      const port = await consumer.port();
      const readyz = async () => {
        const response = await fetch(`http://127.0.0.1:${port}/readyz`);
        return { status: response.status, text: await response.text() };
      };
      await eventually("it is ready", async () => (await readyz()).status === 200);

      await thread.hang();
      const hangs = /worker \d hangs: no sign of life for 6 s; after 20 s the process ends/;
      const answer = await eventually("/readyz says so", async () => {
        const now = await readyz();
        return now.status === 503 && hangs.test(now.text) ? now : undefined;
      });
      expect(answer.text).not.toContain("stored for a minute");
      await consumer.program.printed(new RegExp(`"alert":"pipeline_failure".*${hangs.source}`));
      expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200);
      await pipeline.publish(2000);

      expect(await consumer.program.exit()).toBe(1);
      expect(consumer.program.stderr).toMatch(/^worker \d hangs: no sign of life for 20 s\n$/);
      // The other thread has drained, and the program did not wait for the one that cannot.
      expect(consumer.program.stdout).not.toContain("did not drain");
      const next = pipeline.consumer();
      await pipeline.drained();
      await next.drain();
      expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
    },
    180_000,
  );

  kafkaTest(
    "during a drain ends the drain early, with exit code 1",
    async () => {
      using thread = new HangingThread();
      await using pipeline = await TestPipeline.start({ env: SHORT_SESSION });
      const consumer = pipeline.consumer(thread.env);
      await pipeline.settled();
      await thread.hang();
      consumer.program.signal("SIGTERM");
      expect(await consumer.program.exit()).toBe(1);
      expect(consumer.program.stderr).toMatch(/^worker \d did not drain: no sign of life for 20 s\n$/);
    },
    120_000,
  );
});

describe("a frozen consumer", () => {
  kafkaTest(
    "takes no thread for hung when it is continued, however long it was stopped",
    async () => {
      await using pipeline = await TestPipeline.start();
      const consumer = pipeline.consumer();
      await pipeline.settled();
      await pipeline.publish(1000);
      await pipeline.drained();
      consumer.program.signal("SIGSTOP");
      // The fault itself takes this long.
      await Bun.sleep((HUNG_SECONDS + 5) * 1000);
      consumer.program.signal("SIGCONT");
      await pipeline.publish(1000);
      await pipeline.drained();
      await consumer.drain();
      expect(consumer.program.output).not.toContain("hangs");
      expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
    },
    180_000,
  );
});
