import { describe, expect, test } from "bun:test";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import * as fc from "fast-check";
import { FatalError } from "../../shared/runtime/errors.ts";
import { identify, LineSplitter, openInput } from "../../shared/producer/json-lines.ts";
import { LineRecords } from "../../shared/producer/record-source.ts";

function split(chunks: readonly Uint8Array[]): { lines: Buffer[]; blank: number } {
  const splitter = new LineSplitter();
  const lines = [...chunks.flatMap((chunk) => splitter.push(chunk)), ...splitter.end()];
  return { lines: lines.map((line) => Buffer.from(line)), blank: splitter.blankLines };
}

function texts(...chunks: string[]): string[] {
  return split(chunks.map((chunk) => Buffer.from(chunk))).lines.map((line) => line.toString());
}

/** The import specifier of a file in shared/producer. */
function sourceFile(name: string): string {
  return JSON.stringify(resolve(import.meta.dir, "../../shared/producer", name));
}

async function all(records: LineRecords) {
  const out: { key: string | undefined; value: string; eventType: string | undefined }[] = [];
  while (await records.more()) {
    while (records.ready) {
      const { key, value, eventType } = records.next();
      out.push({ key, value: Buffer.from(value).toString(), eventType });
    }
  }
  return out;
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
    const splitter = new LineSplitter();
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

describe("the identity of a line", () => {
  test.each([
    ['{"user_id":"user_1","event_type":"click"}', "user_1", "click"],
    ['{"user_id":"ünïcode"}\r', "ünïcode", undefined],
    ['{"user_id":7}', undefined, undefined],
    ['{"user_id":""}', undefined, undefined],
    ['["user_id"]', undefined, undefined],
    ['"user_id"', undefined, undefined],
    ["null", undefined, undefined],
    ["{user_id", undefined, undefined],
  ])("%s has the key %p", (line, userId, eventType) => {
    expect(identify(Buffer.from(line))).toEqual({ userId, eventType });
  });

  test("is empty for a line that is not UTF-8", () => {
    const line = Buffer.concat([Buffer.from('{"user_id":"'), Buffer.from([0xff]), Buffer.from('"}')]);
    expect(identify(line).userId).toBeUndefined();
  });
});

describe("PRODUCER_INPUT", () => {
  const folder = mkdtempSync(join(tmpdir(), "pipeline-lines-"));

  test("supplies every line of a file that is larger than one read", async () => {
    const path = join(folder, "events.jsonl");
    const lines = Array.from(
      { length: 5000 },
      (_, n) => `{"user_id":"u${n}","event_type":"t","n":"${"x".repeat(90)}"}`,
    );
    writeFileSync(path, `\n${lines.join("\n")}\nnot json`);
    const records = new LineRecords(await openInput(path));
    const got = await all(records);
    expect(got.map(({ value }) => value)).toEqual([...lines, "not json"]);
    expect(got[4999]).toEqual({ key: "u4999", value: lines[4999]!, eventType: "t" });
    expect(got[5000]?.key).toBeUndefined();
    expect(records.blankLines).toBe(1);
    expect(await records.more()).toBe(false);
  });

  test("is read only as fast as its records are taken", async () => {
    let read = 0;
    async function* chunks() {
      for (; read < 100; read++) yield Buffer.from(`line ${read}\n`);
    }
    const records = new LineRecords(chunks());
    await records.more();
    records.next();
    for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
    expect(read).toBeLessThanOrEqual(1);
    await records.more();
    expect(read).toBeLessThanOrEqual(2);
  });

  test("supplies every line of standard input", async () => {
    const script = join(folder, "stdin.ts");
    writeFileSync(
      script,
      `import { openInput } from ${sourceFile("json-lines.ts")};
       import { LineRecords } from ${sourceFile("record-source.ts")};
       const records = new LineRecords(await openInput("-"));
       let count = 0;
       while (await records.more()) while (records.ready) { records.next(); count++; }
       console.log(count, records.blankLines);`,
    );
    const input = `${"x".repeat(50)}\n`.repeat(20_000);
    const program = Bun.spawn([process.execPath, script], {
      stdin: Buffer.from(`${input}\nlast`),
      stdout: "pipe",
    });
    expect(await program.stdout.text()).toBe("20001 1\n");
  });

  test.each([
    [join(folder, "missing"), "there is no such file"],
    [folder, "it is a folder"],
  ])("fails with one sentence for %s", async (path, reason) => {
    const failure = await openInput(path).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(FatalError);
    expect(String(failure)).toContain(`PRODUCER_INPUT=${path} cannot be read: ${reason}`);
  });
});
