// Stops PostgreSQL and the consumer under a real Prometheus and expects the alerts of the runbook, and no others.
import { describe, expect } from "bun:test";
import { errorMessage } from "../../shared/runtime/errors.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { startPostgres } from "../support/postgres.ts";
import { startProducer } from "../support/process.ts";
import { startPrometheus } from "../support/prometheus.ts";
import { monitoringTest } from "../support/requirements.ts";
import { expectedAlerts } from "./runbook.ts";
import { Timeline } from "./timeline.ts";

/** Two minutes of the rules are six seconds here. */
const FASTER = 20;
/** A scrape may take as long: a busy machine must not look like a consumer that is down. */
const SCRAPE_INTERVAL_MS = 1000;
const PHASE_DEADLINE_MS = 150_000;
const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };

/** Divides every window and every `for` of the rules. */
function faster(rules: string): string {
  const shorter = (_: string, before: string, amount: string, unit: string, after: string) =>
    `${before}${Math.round((Number(amount) * UNIT_SECONDS[unit]! * 1000) / FASTER)}ms${after}`;
  return rules.replaceAll(/(\[)(\d+)([smh])(\])/g, shorter).replaceAll(/(\bfor: )(\d+)([smh])($)/gm, shorter);
}

/** On a slow machine an alert may come again while the consumer catches up. */
function expectFiredAndOver(states: readonly string[]): void {
  expect(states).toContain("firing");
  expect(states.at(-1)).toBe("over");
}

describe("fault", () => {
  monitoringTest(
    "a fault of PostgreSQL, then one of the consumer, fires its alerts and no others, which end with it",
    async () => {
      await using server = await startPostgres();
      await using pipeline = await TestPipeline.start({
        database: await server.database(),
        env: {
          // The lag counts from what was read: with small batches, little is read and not stored.
          CONSUMER_BATCH_SIZE: "50",
          FLUSH_INTERVAL_SECONDS: "1",
          ALERT_CONSUMER_LAG_THRESHOLD: "300",
        },
      });
      const consumer = pipeline.consumer();
      await using producer = startProducer(pipeline, { PRODUCER_RATE: "200" });
      await pipeline.settled();
      const producerPort = await producer.port();
      await using prometheus = await startPrometheus({
        producers: [`127.0.0.1:${producerPort}`],
        consumers: [`127.0.0.1:${await consumer.port()}`],
        scrapeIntervalMs: SCRAPE_INTERVAL_MS,
        rules: faster,
      });
      await using timeline = new Timeline(prometheus);
      const until = async (what: string, condition: () => boolean | Promise<boolean>) => {
        try {
          await pipeline.until(what, async () => await condition(), PHASE_DEADLINE_MS);
        } catch (error) {
          throw new Error(`${errorMessage(error)}\n${timeline.text}`, { cause: error });
        }
      };

      // Seven minutes of the rules, from the first scrape of both.
      await until("both programs are scraped, and records flow", async () => {
        const flowing = await prometheus.query(
          "sum(increase(events_consumed_total[21s])) > 1000 and sum(increase(events_produced_total[21s])) > 1000",
        );
        return flowing.length > 0;
      });
      expect(timeline.fired()).toEqual([]);

      const frozen = timeline.now;
      timeline.remark("-- kill -STOP: PostgreSQL");
      await server.signal("STOP");
      await until("the alerts about database and lag fire", () =>
        ["DatabaseConnectionFailure", "HighConsumerLag"].every((alert) => timeline.is(alert, "firing")),
      );
      timeline.remark("-- kill -CONT: PostgreSQL");
      await server.signal("CONT");
      await until("no alert is pending or firing", () => timeline.isQuiet);
      expectFiredAndOver(timeline.states("DatabaseConnectionFailure", frozen));
      expectFiredAndOver(timeline.states("HighConsumerLag", frozen));
      const ofPostgres = expectedAlerts("PostgreSQL stopped or frozen");
      expect(timeline.fired(frozen).filter((alert) => !ofPostgres.includes(alert))).toEqual([]);

      const stopped = timeline.now;
      timeline.remark("-- kill -STOP: the consumer");
      consumer.program.signal("SIGSTOP");
      await until("the alerts about the consumer fire", () =>
        ["ConsumerDown", "LowEventRate"].every((alert) => timeline.is(alert, "firing")),
      );
      timeline.remark("-- kill -CONT: the consumer");
      consumer.program.signal("SIGCONT");
      await until("no alert is pending or firing", () => timeline.isQuiet);
      expectFiredAndOver(timeline.states("ConsumerDown", stopped));
      expectFiredAndOver(timeline.states("LowEventRate", stopped));
      const ofConsumer = expectedAlerts("Consumer stopped");
      expect(timeline.fired(stopped).filter((alert) => !ofConsumer.includes(alert))).toEqual([]);

      process.stdout.write(`Durations of the rules divided by ${FASTER}:\n${timeline.text}\n`);
    },
    600_000,
  );
});
