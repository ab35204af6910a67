// Sends a file of JSON lines through the producer, Kafka and the consumer, and compares the figures on both sides.
import { describe, expect } from "bun:test";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { METRICS, metricsOf } from "../../shared/telemetry/metrics.ts";
import type { Scrape } from "../support/metrics-text.ts";
import { recordAt } from "../support/known-records.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { startProducer } from "../support/process.ts";
import { kafkaTest } from "../support/requirements.ts";

describe("file of JSON lines", () => {
  kafkaTest(
    "reaches the tables line by line, and both sides count the same",
    async () => {
      const folder = await mkdtemp(join(tmpdir(), "event-pipeline-lines-"));
      try {
        await using pipeline = await TestPipeline.start();
        const lines = Array.from({ length: 2000 }, (_, index) => Buffer.from(recordAt(index).value));
        lines.splice(1000, 0, Buffer.from("no JSON at all"), Buffer.from([0x7b, 0xff, 0x7d]));
        const { published } = pipeline;
        for (let index = 0; index < 2000; index++) published[recordAt(index).kind]++;
        published.records = lines.length;
        published.broken += 2;
        const types = new Map<string, number>();
        for (const line of lines) {
          const type = /^\{"event_id".*"event_type":"(\w+)".*\}$/.exec(line.toString())?.[1] ?? "unknown";
          types.set(type, (types.get(type) ?? 0) + 1);
        }

        // A pipe that stays open keeps the producer alive, so that it can be asked when it has sent everything.
        const path = join(folder, "lines.jsonl");
        await Bun.$`mkfifo ${path}`;
        await using producer = startProducer(pipeline, { PRODUCER_INPUT: path });
        const consumer = pipeline.consumer();
        const pipe = await open(path, "w");
        await pipe.writeFile(Buffer.concat(lines.flatMap((line) => [line, Buffer.from("\n")])));
        const port = await producer.port();
        const sent = await producer.metrics(port, "all is acknowledged", (found) => {
          return found.value("events_produced_total") === lines.length;
        });
        const bytes = lines.reduce((sum, line) => sum + line.length, 0);
        expect(metricsOf("producer").filter((name) => sent.types.get(name) !== METRICS[name].type)).toEqual(
          [],
        );
        expect(
          sent
            .find("events_produced_total")
            .map(({ labels, value }) => `${labels["event_type"]} ${value}`)
            .toSorted((a, b) => a.localeCompare(b)),
        ).toEqual(
          [...types].map(([type, count]) => `${type} ${count}`).toSorted((a, b) => a.localeCompare(b)),
        );
        expect(
          sent.value("bytes_total", { direction: "out", source: "producer", topic: pipeline.topic }),
        ).toBe(bytes);
        expect(sent.value("event_size_bytes_sum")).toBe(bytes);
        expect(sent.value("event_size_bytes_count")).toBe(lines.length);
        expect(sent.value("kafka_produce_errors_total")).toBe(0);
        await pipe.close();
        expect(await producer.exit()).toBe(0);
        expect(producer.stdout).toContain(
          `"sent":${lines.length},"acknowledged":${lines.length},"failed":0,"outstanding":0`,
        );

        await pipeline.drained();
        const all = (found: Scrape) => found.value("events_consumed_total") === lines.length;
        const received = await consumer.program.metrics(await consumer.port(), "all is counted", all);
        expect(received.value("bytes_total")).toBe(bytes);
        const letters = await pipeline.database.sql`
        select reason, count(*)::int as letters from dead_letter_events group by reason order by reason`;
        expect(letters.map((row) => ({ ...row }))).toEqual([
          { reason: "not_json", letters: published.broken - 1 },
          { reason: "not_utf8", letters: 1 },
        ]);
        await consumer.drain();
        expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: published });
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
    120_000,
  );
});
