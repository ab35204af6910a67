import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { LineSplitter } from "../../shared/producer/line-splitter.ts";

function split(chunks: readonly Uint8Array[]): { lines: Buffer[]; blank: number } {
  const splitter = new LineSplitter();
  const lines = [...chunks.flatMap((chunk) => splitter.push(chunk)), ...splitter.end()];
  return { lines: lines.map((line) => Buffer.from(line)), blank: splitter.blankLines };
}

function texts(...chunks: string[]): string[] {
  return split(chunks.map((chunk) => Buffer.from(chunk))).lines.map((line) => line.toString());
}

describe("the line splitter", () => {
  test("ends a line at a newline, and the last line also without one", () => {
    expect(texts('{"a":1}\n{"b":2}')).toEqual(['{"a":1}', '{"b":2}']);
    expect(texts('{"a":1}\n')).toEqual(['{"a":1}']);
    expect(texts("")).toEqual([]);
  });

  test("joins a line that several chunks hold", () => {
    expect(texts("a", "b", "\n", "", "c\nd", "e")).toEqual(["ab", "c", "de"]);
  });

  test("keeps carriage returns, and skips and counts blank lines", () => {
    const { lines, blank } = split([Buffer.from("a\r\n\r\n  \t\n\nb\r\n ")]);
    expect(lines.map(String)).toEqual(["a\r", "b\r"]);
    expect(blank).toBe(4);
  });

  test("keeps every byte, also where it is not UTF-8", () => {
    const bytes = Buffer.from([0xff, 0xfe, 0x00, 0xc3, 0x0a, 0xed, 0xa0, 0x80]);
    expect(split([bytes]).lines).toEqual([
      Buffer.from([0xff, 0xfe, 0x00, 0xc3]),
      Buffer.from([0xed, 0xa0, 0x80]),
    ]);
  });

  test("keeps its bytes when the reader reuses its buffer", () => {
    const splitter = new LineSplitter();
    const buffer = Buffer.from("first half, ");
    splitter.push(buffer);
    buffer.fill("x");
    expect(splitter.push(Buffer.from("second\n")).map((line) => Buffer.from(line).toString())).toEqual([
      "first half, second",
    ]);
  });

  test("returns the lines of any bytes, cut into any chunks (property)", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.array(fc.nat({ max: 200 }), { maxLength: 10 }),
        (bytes, cuts) => {
          const at = [
            0,
            ...cuts.map((cut) => Math.min(cut, bytes.length)).toSorted((a, b) => a - b),
            bytes.length,
          ];
          const chunks = at.slice(1).map((end, index) => bytes.slice(at[index], end));
          // One character per byte, so that text can be compared with bytes.
          const expected = Buffer.from(bytes)
            .toString("latin1")
            .split("\n")
            .filter((line) => /[^ \t\r]/.test(line));
          expect(split(chunks).lines.map((line) => line.toString("latin1"))).toEqual(expected);
        },
      ),
    );
  });

  test("joins a long line once, and not for each chunk", () => {
    const chunk = Buffer.alloc(65_536, "x");
    const splitter = new LineSplitter(64 * 1024 * 1024);
    for (let n = 0; n < 800; n++) splitter.push(chunk); // joined for each chunk, this would copy 20 GB
    const [line] = splitter.push(Buffer.from("\n"));
    expect(line?.length).toBe(800 * 65_536);
  });

  test("throws an error with the line number for a line beyond the limit", () => {
    const splitter = new LineSplitter(10);
    splitter.push(Buffer.from("a\nb\n\n"));
    expect(() => splitter.push(Buffer.from("x".repeat(11)))).toThrow("line 4 is longer than 10 bytes");
  });
});
