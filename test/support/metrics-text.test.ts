import { describe, expect, test } from "bun:test";
import { Counter, Histogram, Registry } from "prom-client";
import { Scrape, scrape } from "./metrics-text.ts";
import { rejection } from "./rejection.ts";

describe("Scrape", () => {
  test("reads what prom-client writes", async () => {
    const registry = new Registry();
    const labelNames = ["topic", "type"] as const;
    const counter = new Counter({ name: "seen_total", help: "Seen.", labelNames, registers: [registry] });
    counter.inc({ topic: "a", type: 'quote " backslash \\ newline \n brace } comma ,' }, 2);
    counter.inc({ topic: "a", type: "plain" }, 3);
    counter.inc({ topic: "b", type: "plain" }, 4);
    new Histogram({ name: "took_seconds", help: "Took.", buckets: [0.1], registers: [registry] }).observe(5);
    const read = new Scrape(await registry.metrics());

    expect(read.value("seen_total")).toBe(9);
    expect(read.value("seen_total", { topic: "a" })).toBe(5);
    expect(read.value("seen_total", { type: 'quote " backslash \\ newline \n brace } comma ,' })).toBe(2);
    expect(read.value("took_seconds_bucket", { le: "0.1" })).toBe(0);
    expect(read.value("took_seconds_bucket", { le: "+Inf" })).toBe(1);
    expect(read.value("took_seconds_sum")).toBe(5);
    expect(read.types.get("seen_total")).toBe("counter");
    expect(read.types.get("took_seconds")).toBe("histogram");
  });

  test("distinguishes a missing sample from a sample of zero", () => {
    const read = new Scrape('lag{partition="0"} 0\n');
    expect(read.value("lag")).toBe(0);
    expect(read.value("lag", { partition: "1" })).toBeUndefined();
    expect(read.value("la")).toBeUndefined();
  });

  test("reads the special numbers", () => {
    const read = new Scrape("a +Inf\nb -Inf\nc NaN\nd 1.5e-7\n");
    expect(read.samples.map(({ value }) => value)).toEqual([Infinity, -Infinity, NaN, 1.5e-7]);
  });

  test.each(["{} 1", "name", "name x", 'name{a="b" 1', 'name{a="b"}1', "name 1 2 3", "<html>"])(
    "refuses %p",
    (line) => {
      expect(() => new Scrape(line)).toThrow("not a line of Prometheus's text format");
    },
  );
});

test("scrape refuses an answer that is not 200", async () => {
  using server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: () => new Response("a 1\n", { status: 503 }),
  });
  expect((await rejection(scrape(server.port!))).message).toContain("/metrics answered 503");
});
