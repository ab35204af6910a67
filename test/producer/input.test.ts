import { describe, expect, test } from "bun:test";
import { mkdtempSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { FatalError } from "../../shared/runtime/errors.ts";
import { openInput } from "../../shared/producer/input.ts";
import { LineRecords } from "../../shared/producer/record-source.ts";
import { rejection } from "../support/rejection.ts";

const LINES = ["page_view", "click", "login"]
  .map((type) => `{"user_id":"u","event_type":"${type}"}\n`)
  .join("");

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
      `import { openInput } from ${sourceFile("input.ts")};
       import { LineRecords } from ${sourceFile("record-source.ts")};
       const records = new LineRecords(await openInput("-"));
       let count = 0;
       while (await records.more()) while (records.ready) { records.next(); count++; }
       console.log(count, records.blankLines);`,
    );
    const input = `{"user_id":"u","event_type":"t","x":"${"x".repeat(50)}"}\n`.repeat(20_000);
    const program = Bun.spawn([process.execPath, script], {
      stdin: Buffer.from(`${input}\nlast`),
      stdout: "pipe",
    });
    expect(await program.stdout.text()).toBe("20001 1\n");
  });

  test("continues standard input where another program has stopped reading", async () => {
    const path = join(folder, "with-title.txt");
    writeFileSync(path, `a title\n${LINES}`);
    const script = `{ read title; ${process.execPath} ${join(folder, "stdin.ts")}; } < ${path}`;
    const program = Bun.spawn(["sh", "-c", script], { stdout: "pipe" });
    // A shell reads a title byte by byte, so that the rest is left in the file.
    expect(await program.stdout.text()).toBe("3 0\n");
  });

  test.each([
    ["plain", Buffer.from(LINES)],
    ["with a byte order mark", Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(LINES)])],
    ["compressed by gzip", gzipSync(LINES)],
    ["of several gzip members", Buffer.concat([gzipSync(LINES.slice(0, 40)), gzipSync(LINES.slice(40))])],
    ["compressed by zstd", zstdCompressSync(LINES)],
    ["compressed twice", gzipSync(zstdCompressSync(`\ufeff${LINES}`))],
  ])("is read as lines where it is %s", async (name, bytes) => {
    const path = join(folder, `${name}.bin`);
    writeFileSync(path, bytes);
    const got = await all(new LineRecords(await openInput(path)));
    expect(got.map(({ value }) => `${value}\n`).join("")).toBe(LINES);
  });

  test("supplies the first line of a stream before the second one comes", async () => {
    const path = join(folder, "pipe");
    await Bun.$`mkfifo ${path}`;
    const opened = openInput(path);
    const pipe = await open(path, "w");
    await pipe.write('{"user_id":"u","event_type":"t"}\n');
    const records = new LineRecords(await opened);
    expect(await records.more()).toBe(true);
    await pipe.close();
  });

  test.each([
    ["UTF-16", Buffer.from(`\ufeff${LINES}`, "utf16le"), "text in UTF-16"],
    ["UTF-16LE", Buffer.from(LINES, "utf16le"), "text in UTF-16LE"],
    ["UTF-16BE", Buffer.from(LINES, "utf16le").swap16(), "text in UTF-16BE"],
    ["UTF-16 in gzip", gzipSync(Buffer.from(`\ufeff${LINES}`, "utf16le")), "text in UTF-16"],
    [
      "UTF-32",
      Buffer.concat(Array.from(LINES, (c) => Buffer.from([c.charCodeAt(0), 0, 0, 0]))),
      "text in UTF-32",
    ],
    ["an array", Buffer.from(`[${LINES.trim().split("\n").join()}]`), "a JSON array"],
    ["a printed array", Buffer.from(JSON.stringify([{ a: 1 }], null, 2)), "a JSON array"],
    ["a printed object", Buffer.from(JSON.stringify({ a: { b: 1 } }, null, 2)), "spread over several lines"],
    ["objects on two lines", Buffer.from('{"a":1,\n"b":2}\n'), "spread over several lines"],
    ["bzip2", Buffer.from("BZh91AY&SY"), "compressed by bzip2"],
    ["xz", Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]), "compressed by xz"],
    ["zip", Buffer.from("PK\u0003\u0004...."), "a zip archive"],
    ["Parquet", Buffer.from("PAR1...."), "a Parquet file"],
    [
      "tar",
      Buffer.from(`events.jsonl${"\0".repeat(245)}ustar\0${"\0".repeat(249)}${LINES}`),
      "a tar archive",
    ],
    ["a cut gzip file", gzipSync(LINES.repeat(100)).subarray(0, 60), "its gzip data are damaged or cut off"],
    ["a cut zstd file", zstdCompressSync(LINES).subarray(0, -9), "its zstd data are damaged or cut off"],
  ])("is refused where it is %s", async (name, bytes, reason) => {
    const path = join(folder, `${name}.refused`);
    writeFileSync(path, bytes);
    const failure = await openInput(path).then(
      async (chunks) => await rejection(all(new LineRecords(chunks))),
    );
    expect(failure).toBeInstanceOf(FatalError);
    expect(failure.message).toStartWith(`PRODUCER_INPUT=${path} cannot be read: it`);
    expect(failure.message).toContain(reason);
  });

  test.each([
    ["an open first line before whole ones", `{"a":1,\n${LINES}`],
    ["one open line", "{\n"],
    ["a long first line", `{"a":[${"0,".repeat(100_000)}0]}\n{}`],
  ])("is published as it is with %s", async (name, text) => {
    const path = join(folder, `${name}.jsonl`);
    writeFileSync(path, text);
    const got = await all(new LineRecords(await openInput(path)));
    expect(got.map(({ value }) => value)).toEqual(text.trimEnd().split("\n"));
  });

  test("ends where none of many lines is an event", async () => {
    const path = join(folder, "events.csv");
    writeFileSync(path, "user_id,event_type\n".repeat(200_000));
    const records = new LineRecords(await openInput(path));
    const failure = await rejection(all(records));
    expect(failure).toBeInstanceOf(FatalError);
    expect(failure.message).toContain(`none of the first ${records.lines} lines is an event`);
    expect(records.lines).toBeLessThan(20_000);
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
