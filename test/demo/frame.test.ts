import { describe, expect, test } from "bun:test";
import { stripVTControlCharacters } from "node:util";
import { COLOURS, inkFor, NO_COLOURS } from "../../workers/demo/colors.ts";
import { plainLine } from "../../workers/demo/plain-line.ts";
import { renderFrame } from "../../workers/demo/frame.ts";
import { snapshotWith } from "./snapshot.ts";

const SIZES = [
  { columns: 200, rows: 60 },
  { columns: 120, rows: 40 },
  { columns: 100, rows: 30 },
  { columns: 92, rows: 30 },
  { columns: 91, rows: 30 },
  { columns: 80, rows: 24 },
  { columns: 60, rows: 20 },
  { columns: 40, rows: 10 },
  { columns: 20, rows: 5 },
  { columns: 3, rows: 2 },
  { columns: 1, rows: 1 },
];

function frame(columns: number, rows: number, changes = {}): string[] {
  return renderFrame(snapshotWith(changes), { columns, rows }, NO_COLOURS);
}

test("80 columns, 24 rows", () => {
  expect(`\n${frame(80, 24).join("\n")}\n`).toBe(`
 event-pipeline demo  1,000 records/s asked for                    1:23 of 2:00
 Ctrl-C ends it, and shows the ledger

 produced     1,000/s  █████████████████████████████      82,310  in Kafka
 consumed       999/s  █████████████████████████████      82,299  in PostgreSQL
 latency        18 ms p50  44 ms p99, from an event's creation to its commit

 hour from 09:00 UTC     events      users    average
 page_view               37,035      1,000    150.2 s
 click                   20,575      1,000          –
 search                  12,345        999      5.0 s
 purchase                 4,120        987          –
 login                    4,112        981          –
 logout                   4,112        979          –
 lag  375 records not committed yet
 p0                                 0  p3  █████████████▊                75
 p1  ████▋                         25  p4  ██████████████████▍          100
 p2  █████████▎                    50  p5  ███████████████████████      125
 records   82,135 stored, 82 duplicates, 82 dead letters
           not_json 14, missing_field 14
           on purpose, 1 record in 1,000 is broken and 1 in 1,000 repeated
 console   http://localhost:8002/  in a browser; also /api, /metrics
 database  psql postgresql://demo:0a1b2c3d@127.0.0.1:23456/demo  48 MB
 log       /tmp/event-pipeline-postgres-AbCdEf/consumer.log
`);
});

test("from 92 columns on the lag stands beside the hours", () => {
  const beside = (columns: number): boolean =>
    frame(columns, 40).some((line) => line.includes("hour from") && line.includes("lag"));
  expect([beside(91), beside(92)]).toEqual([false, true]);
});

test("the graph shows the newest seconds on the right", () => {
  const produced = frame(140, 40).find((line) => line.includes("produced"));
  expect(produced).toContain(" ▁▂▃▅▆█");
});

describe("any size", () => {
  test.each(SIZES)("%j", ({ columns, rows }) => {
    for (const changes of [
      {},
      { hours: [], partitions: [], deadLetters: [], latency: undefined, newestDeadLetters: [] },
    ]) {
      const lines = frame(columns, rows, changes);
      expect(lines.length).toBeLessThanOrEqual(rows);
      for (const line of lines) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(Math.max(0, columns - 1));
    }
  });

  test("where there is little room, the figures stay and the rest goes", () => {
    const lines = frame(80, 8).join("\n");
    expect(lines).toContain("produced");
    expect(lines).not.toContain("psql");
    expect(lines).not.toContain("lag");
  });
});

describe("colours", () => {
  const size = { columns: 100, rows: 40 };
  const coloured = renderFrame(snapshotWith(), size, COLOURS).join("\n");

  test("change nothing but the colour", () => {
    expect(stripVTControlCharacters(coloured)).toBe(renderFrame(snapshotWith(), size, NO_COLOURS).join("\n"));
    expect(coloured).not.toBe(stripVTControlCharacters(coloured));
  });

  test("are for terminals, and NO_COLOR is heard", () => {
    const isColoured = (isTTY: boolean, environment: Record<string, string>): boolean =>
      inkFor({ isTTY }, environment) === COLOURS;
    expect(isColoured(true, {})).toBe(true);
    expect(isColoured(true, { NO_COLOR: "" })).toBe(true);
    expect(isColoured(true, { NO_COLOR: "1" })).toBe(false);
    expect(isColoured(true, { TERM: "dumb" })).toBe(false);
    expect(isColoured(false, {})).toBe(false);
  });
});

test("what the database holds moves no cursor", () => {
  const evil = "\x1b[2J\x07\n";
  const lines = frame(120, 40, {
    hours: [{ hour: new Date(0), eventType: evil, events: 1, uniqueUsers: 1, averageSeconds: null }],
    deadLetters: [{ reason: evil, count: 1 }],
    newestDeadLetters: [{ partition: 0, offset: 0, reason: evil, error: evil }],
  });
  for (const line of lines) expect(line).not.toMatch(/\p{Cc}/u);
});

describe("the phase", () => {
  const phaseLine = (changes: object): string | undefined => frame(100, 40, changes)[1];

  test("says what can be done, what is going on, and what was done", () => {
    expect(phaseLine({})).toContain("Ctrl-C ends it");
    expect(phaseLine({ isHeldBack: true })).toContain("10,000 records behind");
    expect(phaseLine({ phase: "finishing" })).toContain("being consumed");
    expect(phaseLine({ phase: "draining" })).toContain("drains");
    expect(phaseLine({ phase: "done" })).toContain("done");
  });

  test("at the end, the addresses of what is gone are not shown", () => {
    expect(frame(100, 40, { phase: "done" }).join("\n")).not.toContain("psql");
  });
});

test("earlier hours are one line", () => {
  const [row] = snapshotWith().hours;
  const hours = [
    { ...row!, hour: new Date("2026-03-14T10:00:00Z"), events: 7 },
    { ...row!, events: 1000 },
    { ...row!, eventType: "click", events: 500 },
  ];
  const lines = frame(91, 40, { hours });
  expect(lines.find((line) => line.includes("hour from"))).toContain("hour from 10:00 UTC");
  expect(lines.filter((line) => line.includes("page_view"))).toHaveLength(1);
  expect(lines.find((line) => line.includes("in earlier hours"))).toContain("1,500");
});

describe("without a terminal", () => {
  test("one line says it all", () => {
    expect(plainLine(snapshotWith())).toBe(
      "1:23  produced 82,310 (1,000/s), consumed 82,299 (999/s), lag 375, latency p50 18 ms p99 44 ms, duplicates 82, dead letters 82",
    );
  });

  test("and what is special", () => {
    expect(plainLine(snapshotWith({ isHeldBack: true }))).toEndWith("the producer waits for the consumer");
    expect(plainLine(snapshotWith({ phase: "finishing" }))).toEndWith("finishing");
    expect(plainLine(snapshotWith({ phase: "done", latency: undefined }))).not.toContain("latency");
  });
});
