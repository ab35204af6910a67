import { describe, expect, test } from "bun:test";
import { stripVTControlCharacters } from "node:util";
import { COLORS, NO_COLORS, paletteFor } from "../../workers/demo/colors.ts";
import { renderFrame } from "../../workers/demo/frame.ts";
import { plainLine } from "../../workers/demo/plain-line.ts";
import type { Snapshot } from "../../workers/demo/run.ts";
import { deadLetter, EARLIER_HOUR, eventType, NEWEST_HOUR, snapshotWith } from "./snapshot.ts";

const SIZES = ["200x60", "120x40", "92x30", "91x30", "80x24", "60x20", "40x10", "20x5", "3x2", "1x1"];

const NOTHING_YET: Partial<Snapshot> = {
  hours: [],
  lag: [],
  totals: undefined,
  deadLetters: undefined,
  age: null,
};

function frame(columns: number, rows: number, changes: Partial<Snapshot> = {}): string[] {
  return renderFrame(snapshotWith(changes), { columns, rows }, NO_COLORS);
}

describe("a frame", () => {
  test("fills a terminal of 80 columns and 24 rows", () => {
    expect(`\n${frame(80, 24).join("\n")}\n`).toBe(`
 event-pipeline demo  target: 1,000 records/s                      1:23 of 2:00
 Ctrl-C stops the demo and shows the proofs

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
           injected on purpose: 1 invalid and 1 repeated record in 1,000
 console   http://localhost:8002/  in a browser; also /api, /metrics
 database  psql postgresql://demo:0a1b2c3d@127.0.0.1:23456/demo
 log       /tmp/event-pipeline-postgres-AbCdEf/consumer.log
`);
  });

  test("has the lag beside the hours from 92 columns on, and all details in 40 rows", () => {
    const changes: Partial<Snapshot> = {
      isHeldBack: true,
      limitMs: undefined,
      rate: Number.POSITIVE_INFINITY,
      hours: [EARLIER_HOUR, { ...NEWEST_HOUR, others: { types: 2, events: 40 } }],
    };
    expect(`\n${frame(92, 40, changes).join("\n")}\n`).toBe(`
 event-pipeline demo  target: as fast as possible                                      1:23
 the producer waits: the consumer is 10,000 records behind

 produced     1,000/s  █████████████████████████████████████████      82,310  in Kafka
 consumed       999/s  █████████████████████████████████████████      82,299  in PostgreSQL
 latency        18 ms p50  44 ms p99, from an event's creation to its commit

 hour from 09:00 UTC     events      users    average    lag  375 records not committed yet
 page_view               37,035      1,000    150.2 s    p0                            0
 click                   20,575      1,000          –    p1  ███▋                     25
 search                  12,345        999      5.0 s    p2  ███████▎                 50
 purchase                 4,120        987          –    p3  ██████████▊              75
 login                    4,112        981          –    p4  ██████████████▍         100
 logout                   4,112        979          –    p5  ██████████████████      125
 other types                 40
 in earlier hours         1,507

 records   82,135 stored, 82 duplicates, 82 dead letters
           not_json 14, missing_field 14
           injected on purpose: 1 invalid and 1 repeated record in 1,000

 console   http://localhost:8002/  in a browser; also /api, /metrics
 database  psql postgresql://demo:0a1b2c3d@127.0.0.1:23456/demo
 log       /tmp/event-pipeline-postgres-AbCdEf/consumer.log

 newest dead letters
 p3 @ 13,702     missing_field       user_id: missing
`);
  });

  test("says at the end that it is done, without the addresses of servers that are gone", () => {
    const lines = frame(100, Number.POSITIVE_INFINITY, { phase: "done" }).join("\n");
    expect(lines).toContain("done: every published record is consumed");
    expect(lines).not.toContain("psql");
  });

  test.each(SIZES)("fits a terminal of %s", (size) => {
    const [columns = 0, rows = 0] = size.split("x").map(Number);
    for (const changes of [{}, NOTHING_YET]) {
      const lines = frame(columns, rows, changes);
      expect(lines.length).toBeLessThanOrEqual(rows);
      for (const line of lines) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(Math.max(0, columns - 1));
    }
  });

  test("keeps the rates and drops the rest if there is little room", () => {
    const lines = frame(80, 8).join("\n");
    expect(lines).toContain("produced");
    expect(lines).not.toContain("psql");
    expect(lines).not.toContain("lag");
  });

  test("shows no control character of the database", () => {
    const evil = "\x1b[2J\x07\n";
    const lines = frame(120, 40, {
      hours: [{ ...NEWEST_HOUR, types: [eventType(evil, 1)] }],
      deadLetters: {
        database: { state: "current", sinceMs: 0, readAtMs: null, reason: null },
        total: 1,
        discarded: 0,
        replayed: 0,
        byReason: [{ reason: evil, count: 1 }],
        newest: [deadLetter(evil, evil)],
      },
    });
    for (const line of lines) expect(line).not.toMatch(/\p{Cc}/u);
  });

  test("is the same text with colors and without", () => {
    const size = { columns: 100, rows: 40 };
    const colored = renderFrame(snapshotWith(), size, COLORS).join("\n");
    expect(stripVTControlCharacters(colored)).toBe(frame(100, 40).join("\n"));
    expect(colored).not.toBe(stripVTControlCharacters(colored));
  });
});

test.each([
  ["a terminal", true, {}, true],
  ["a terminal with an empty NO_COLOR", true, { NO_COLOR: "" }, true],
  ["a terminal with NO_COLOR", true, { NO_COLOR: "1" }, false],
  ["a dumb terminal", true, { TERM: "dumb" }, false],
  ["a pipe", false, {}, false],
] as const)("the palette of %s has colors: %p, %p -> %p", (_, isTTY, environment, hasColors) => {
  expect(paletteFor({ isTTY }, environment)).toBe(hasColors ? COLORS : NO_COLORS);
});

describe("a plain line", () => {
  test("has the main figures", () => {
    expect(plainLine(snapshotWith())).toBe(
      "1:23  produced 82,310 (1,000/s), consumed 82,299 (999/s), lag 375, latency p50 18 ms p99 44 ms, duplicates 82, dead letters 82",
    );
  });

  test("ends with anything unusual", () => {
    expect(plainLine(snapshotWith({ isHeldBack: true }))).toEndWith("the producer waits for the consumer");
    expect(plainLine(snapshotWith({ phase: "finishing" }))).toEndWith("finishing");
    expect(plainLine(snapshotWith({ phase: "done", age: null }))).not.toContain("latency");
  });
});
