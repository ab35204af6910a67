// Sends known records through the real programs and checks every figure of /metrics, /healthz and /readyz.
import { describe, expect } from "bun:test";
import { METRICS, metricsOf, OTHER_EVENT_TYPES } from "../../shared/telemetry/metrics.ts";
import type { Scrape } from "../support/metrics-text.ts";
import { recordAt } from "../support/known-records.ts";
import { TestPipeline } from "../support/pipeline.ts";
import type { TestConsumer } from "../support/test-consumer.ts";
import { startPostgres } from "../support/postgres.ts";
import { kafkaTest } from "../support/requirements.ts";
import { BAD_RECORDS } from "./bad-records.ts";

async function ready(consumer: TestConsumer): Promise<{ status: number; reasons: string }> {
  const answer = await fetch(`http://127.0.0.1:${await consumer.port()}/readyz`);
  const { reasons } = (await answer.json()) as { reasons: string[] };
  return { status: answer.status, reasons: reasons.join("; ") };
}

async function isAlive(consumer: TestConsumer): Promise<boolean> {
  return (await fetch(`http://127.0.0.1:${await consumer.port()}/healthz`)).ok;
}

/** Waits until each of its two threads reads three of the six partitions. */
async function bothRead(pipeline: TestPipeline, consumer: TestConsumer): Promise<void> {
  await pipeline.until("each thread reads three partitions", async () => {
    const owned = consumer.ownedByWorker;
    return owned.get("0") === 3 && owned.get("1") === 3 && (await ready(consumer)).status === 200;
  });
}

/** The partitions that have a lag. */
function lagging(scrape: Scrape): string[] {
  return scrape
    .find("kafka_consumer_lag")
    .map(({ labels }) => labels["partition"]!)
    .toSorted();
}

/**
 * Bad records of every kind but two: PostgreSQL refuses the one, which makes an error of the transaction, and the
 * other is too large for this test's producer.
 */
const BROKEN = BAD_RECORDS.filter(({ reason }) => reason !== "refused_by_database" && reason !== "too_large");
const STRANGE_TYPES = 1000;

/** An event of a type that no other event has. */
function strangeEvent(index: number): Buffer {
  return Buffer.from(
    JSON.stringify({
      event_id: `strange_${index}`,
      user_id: "user_strange",
      event_type: `type_${index}`,
      timestamp: "2026-01-01T10:00:00Z",
      event_data: {},
    }),
  );
}

/** Publishes 100,000 records, known events and known errors. @returns the figures to expect of them */
async function publishKnown(pipeline: TestPipeline) {
  const { published } = pipeline;
  const strange = Array.from({ length: STRANGE_TYPES }, (_, index) => strangeEvent(index));
  const sent = [...strange, ...BROKEN.map(({ value }) => value)];
  await pipeline.publish(100_000 - sent.length);
  const processed: Record<string, number> = {};
  const failed: Record<string, number> = { not_json: published.broken };
  let bytes = sent.reduce((sum, value) => sum + (value?.length ?? 0), 0);
  for (let index = 0; index < published.records; index++) {
    const { kind, value } = recordAt(index);
    bytes += Buffer.byteLength(value);
    if (kind !== "events") continue;
    const { event_type: type } = JSON.parse(value) as { event_type: string };
    processed[type] = (processed[type] ?? 0) + 1;
  }
  await pipeline.send(sent.map((value) => ({ value })));
  for (const { reason } of BROKEN) failed[reason] = (failed[reason] ?? 0) + 1;
  published.records += sent.length;
  published.events += strange.length;
  published.broken += BROKEN.length;
  return { bytes, processed, failed };
}

/** The values of a counter's series that are not 0, by one of their labels. */
function by(scrape: Scrape, name: string, label: string): Record<string, number> {
  const counted = scrape.find(name).filter(({ value }) => value > 0);
  return Object.fromEntries(counted.map(({ labels, value }) => [labels[label]!, value]));
}

describe("metrics", () => {
  kafkaTest(
    "equal the known numbers after 100,000 known records on two threads",
    async () => {
      await using pipeline = await TestPipeline.start({
        env: {
          FLUSH_INTERVAL_SECONDS: "1",
          ALERT_CONSUMER_LAG_THRESHOLD: "77",
          ALERT_ERROR_RATE_THRESHOLD: "0.25",
          ALERT_PROCESSING_LATENCY_THRESHOLD: "3.5",
        },
      });
      const { topic, published } = pipeline;
      const { sql } = pipeline.database;
      const beforeSeconds = Date.now() / 1000;
      const consumer = pipeline.consumer();
      // Both threads are at work before there is any record, so that nothing is fetched twice.
      await bothRead(pipeline, consumer);
      const { bytes, processed, failed } = await publishKnown(pipeline);
      await pipeline.drained(150_000);
      const [hours] = await sql`select count(*)::int as hours from hourly_aggregations`;
      const scrape = await consumer.program.metrics(
        await consumer.port(),
        "all is counted, no lag is left, and every hour is closed",
        (found) =>
          found.value("events_consumed_total") === published.records &&
          lagging(found).length === 6 &&
          found.value("kafka_consumer_lag") === 0 &&
          found.value("aggregations_flushed_total") === hours?.["hours"],
        60_000,
      );
      expect(metricsOf("consumer").filter((name) => scrape.types.get(name) !== METRICS[name].type)).toEqual(
        [],
      );

      expect(by(scrape, "events_processed_total", "event_type")).toMatchObject(processed);
      expect(by(scrape, "events_failed_total", "error_type")).toEqual(failed);
      expect(by(scrape, "dead_letter_events_total", "reason")).toEqual(failed);
      // A thousand further types do not become a thousand series, and yet are counted.
      for (const name of ["events_processed_total", "aggregations_created_total"]) {
        expect(scrape.find(name).length).toBeLessThanOrEqual(101);
        expect(scrape.value(name, { event_type: OTHER_EVENT_TYPES })).toBeGreaterThan(0);
      }
      const [rows] = await sql`
      select (select count(*)::int from raw_events) as raw_events,
        (select count(*)::int from dead_letter_events) as dead_letter_events,
        (select count(*)::int from hourly_users) as hourly_users,
        (select count(*)::int from hourly_aggregations) as hourly_aggregations,
        (select count(*)::int from hourly_aggregations where closed_at is not null) as closed`;
      const value = (name: string, labels: Record<string, string> = {}) => scrape.value(name, labels);
      expect({
        consumed: value("events_consumed_total", { topic }),
        fetched: value("records_fetched_total", { topic }),
        processed: value("events_processed_total"),
        duplicates: value("duplicate_events_total", { topic }),
        failed: value("events_failed_total", { topic }),
        deadLetters: value("dead_letter_events_total"),
        // The events are of an hour that ended long ago.
        late: value("late_events_total"),
        bytes: value("bytes_total", { direction: "in", source: "consumer", topic }),
        rawRows: value("db_inserts_total", { table: "raw_events" }),
        letterRows: value("db_inserts_total", { table: "dead_letter_events" }),
        userRows: value("db_inserts_total", { table: "hourly_users" }),
        hoursCreated: value("aggregations_created_total"),
        hoursClosed: value("aggregations_flushed_total"),
        ages: value("event_age_at_commit_seconds_count"),
        batched: value("db_batch_size_sum"),
        timed: value("event_processing_duration_seconds_count"),
        transactions: value("db_batch_size_count"),
        errors: value("db_insert_errors_total"),
        resyncs: value("resyncs_total"),
        connections: value("db_connections_active"),
        assigned: value("consumer_assigned_partitions"),
        paused: value("consumer_paused_partitions"),
        deleted: value("deleted_offsets_total"),
        gaps: value("gap_offsets_total"),
        build: value("pipeline_build_info"),
      }).toEqual({
        consumed: published.records,
        fetched: published.records,
        processed: published.events,
        duplicates: published.repeats,
        failed: published.broken,
        deadLetters: published.broken,
        late: published.events,
        bytes,
        rawRows: published.events,
        letterRows: published.broken,
        userRows: rows?.["hourly_users"],
        hoursCreated: rows?.["hourly_aggregations"],
        hoursClosed: rows?.["closed"],
        ages: published.events,
        batched: published.records,
        timed: published.records,
        transactions: value("db_insert_duration_seconds_count"),
        errors: 0,
        resyncs: 0,
        connections: 3,
        assigned: 6,
        paused: 0,
        deleted: 0,
        gaps: 0,
        build: 1,
      });
      expect(rows).toMatchObject({ raw_events: published.events, dead_letter_events: published.broken });
      for (const name of [
        "event_transformation_duration_seconds_count",
        "aggregation_duration_seconds_count",
      ]) {
        expect([name, value(name)]).toEqual([name, value("db_batch_size_count")]);
      }
      expect(value("last_event_processed_unixtime")).toBeGreaterThan(beforeSeconds - 1);
      expect(value("last_event_processed_unixtime")).toBeLessThan(Date.now() / 1000 + 1);
      expect(value("alert_threshold", { alert: "consumer_lag" })).toBe(77);
      expect(value("alert_threshold", { alert: "error_rate" })).toBe(0.25);
      expect(value("alert_threshold", { alert: "processing_latency" })).toBe(3.5);

      // The same figures in the database, written by the main thread.
      await pipeline.until("pipeline_metrics has the last figures", async () => {
        const [row] = await sql`
        select sum(metric_value)::int as consumed from pipeline_metrics
        where metric_name = 'events_consumed_total' and recorded_at = (select max(recorded_at) from pipeline_metrics)`;
        return row?.["consumed"] === published.records;
      });
      await consumer.drain();
      expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: published });
    },
    300_000,
  );

  kafkaTest(
    "count the rows that a restarted consumer writes, and not those that it finds",
    async () => {
      await using pipeline = await TestPipeline.start();
      // Users come again after 3165 records: of the second 1000 most are known, though not to the second consumer.
      await pipeline.publish(3000);
      const first = pipeline.consumer();
      await pipeline.drained();
      await first.drain();
      const second = pipeline.consumer();
      await pipeline.publish(1000);
      await pipeline.drained();
      const all = (found: Scrape) => found.value("events_consumed_total") === 1000;
      const scrape = await second.program.metrics(await second.port(), "all is counted", all);
      const [rows] = await pipeline.database.sql`
      select count(*)::int as users from hourly_users where (aggregation_hour, event_type, user_id) in (
        select date_trunc('hour', "timestamp", 'UTC'), event_type, user_id from raw_events
        group by 1, 2, 3 having min(split_part(event_id, '_', -1)::int) >= 3000)`;
      expect(rows?.["users"]).toBeGreaterThan(0);
      expect(scrape.value("db_inserts_total", { table: "hourly_users" })).toBe(rows?.["users"]);
      expect(scrape.value("aggregations_created_total") ?? 0).toBe(0);
      await second.drain();
      expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
    },
    150_000,
  );

  kafkaTest(
    "report a consumer without PostgreSQL as alive and not ready, with a lag that grows and then falls to 0",
    async () => {
      await using server = await startPostgres();
      await using pipeline = await TestPipeline.start({
        database: await server.database(),
        env: { FLUSH_INTERVAL_SECONDS: "1" },
      });
      await pipeline.publish(1000);
      const consumer = pipeline.consumer();
      await pipeline.drained();
      await bothRead(pipeline, consumer);

      await server.stop("fast");
      await pipeline.until("it is not ready", async () => (await ready(consumer)).status === 503);
      await pipeline.publish(3000);
      const away = await consumer.program.metrics(
        await consumer.port(),
        "the lag is what was published meanwhile, and no connection is left",
        (found) => found.value("kafka_consumer_lag") === 3000 && found.value("db_connections_active") === 0,
      );
      expect(lagging(away)).toEqual(["0", "1", "2", "3", "4", "5"]);
      expect(away.value("events_consumed_total")).toBe(1000);
      expect(away.value("resyncs_total", { cause: "connection" })).toBeGreaterThan(0);
      expect(await isAlive(consumer)).toBe(true);
      await pipeline.until("both workers miss PostgreSQL", async () =>
        /PostgreSQL is unreachable from (all 2 workers|worker \d.*PostgreSQL is unreachable from worker \d)/.test(
          (await ready(consumer)).reasons,
        ),
      );

      await server.start();
      await pipeline.drained();
      const back = await consumer.program.metrics(
        await consumer.port(),
        "all is counted, no lag is left, no partition is paused, and every connection is back",
        (found) =>
          found.value("events_consumed_total") === 4000 &&
          found.value("kafka_consumer_lag") === 0 &&
          found.value("consumer_paused_partitions") === 0 &&
          found.value("db_connections_active") === 3,
      );
      expect(back.value("paused_seconds_total")).toBeGreaterThan(0);
      await pipeline.until("it is ready again", async () => (await ready(consumer)).status === 200);
      await consumer.drain();
      expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
    },
    180_000,
  );

  kafkaTest(
    "show the lag of a partition at the consumer that owns the partition",
    async () => {
      await using pipeline = await TestPipeline.start();
      const first = pipeline.consumer();
      await pipeline.settled();
      const all = ["0", "1", "2", "3", "4", "5"];
      await pipeline.until(
        "the first has all",
        async () => lagging(await first.scrape()).join() === all.join(),
      );

      const second = pipeline.consumer();
      await pipeline.settled();
      await pipeline.until("each has its own", async () => {
        const shares = [lagging(await first.scrape()), lagging(await second.scrape())];
        return shares.every((share) => share.length > 0) && shares.flat().toSorted().join() === all.join();
      });
      await pipeline.publish(1000);
      await pipeline.drained();
      await second.drain();
      await pipeline.until(
        "the first has all again",
        async () => lagging(await first.scrape()).join() === all.join(),
      );
      await first.drain();
      expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
    },
    150_000,
  );
});
