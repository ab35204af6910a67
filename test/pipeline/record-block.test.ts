import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { encodeHeaders, MAX_BLOCK_BYTES, RecordBlock } from "../../shared/pipeline/record-block.ts";
import { addRecord } from "./record.ts";

const bytes = fc.uint8Array({ maxLength: 50 });

test("a record block returns keys and values unchanged, also after its buffer has grown", () => {
  const record = fc.record({
    key: fc.option(bytes, { nil: undefined }),
    value: fc.option(bytes, { nil: undefined }),
    slot: fc.integer({ min: 0, max: 5 }),
    offset: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  });
  fc.assert(
    fc.property(
      fc.array(record, { maxLength: 30 }),
      fc.integer({ min: 1, max: 64 }),
      (records, initialBytes) => {
        const block = new RecordBlock(30, initialBytes);
        // The block was used before, and no trace of that may remain.
        addRecord(block, {
          offset: 1,
          key: "old key",
          value: "old value",
          headers: [{ name: "h", value: undefined }],
        });
        block.clear();
        for (const { key, ...rest } of records)
          addRecord(block, { ...rest, ...(key === undefined ? {} : { key }) });
        expect(block.count).toBe(records.length);
        expect(block.full).toBe(records.length === 30);
        for (const [index, { key, value, slot, offset }] of records.entries()) {
          expect(block.key(index)).toEqual(key === undefined ? undefined : Buffer.from(key));
          expect(block.value(index)).toEqual(value === undefined ? undefined : Buffer.from(value));
          expect([block.slot[index], block.offset[index]]).toEqual([slot, offset]);
          expect(block.headers.get(index)).toBeUndefined();
          // A reader that runs past a value's end meets a newline.
          if (value !== undefined) expect(block.bytes[block.valueEnd[index]!]).toBe(10);
        }
      },
    ),
    { numRuns: 300 },
  );
});

test("a record block returns copies that outlast it", () => {
  const block = new RecordBlock(2, 16);
  addRecord(block, { offset: 1, key: "key", value: "value" });
  const [key, value] = [block.key(0), block.value(0)];
  block.clear();
  addRecord(block, { offset: 2, key: "XXX", value: "YYYYY" });
  expect([String(key), String(value)]).toEqual(["key", "value"]);
});

describe("a record block", () => {
  test("is full at its maximum of records", () => {
    const block = new RecordBlock(2);
    addRecord(block, { offset: 1, value: "" });
    expect(block.full).toBe(false);
    addRecord(block, { offset: 2, value: undefined });
    expect(block.full).toBe(true);
    block.clear();
    expect(block.full).toBe(false);
  });

  test("is full at its maximum of bytes, newlines included", () => {
    const block = new RecordBlock(10, 16);
    addRecord(block, { offset: 1, value: new Uint8Array(MAX_BLOCK_BYTES - 2) });
    expect([block.used, block.full]).toEqual([MAX_BLOCK_BYTES - 1, false]);
    addRecord(block, { offset: 2, value: "" });
    expect([block.used, block.full]).toEqual([MAX_BLOCK_BYTES, true]);
    block.clear();
    expect([block.used, block.full]).toEqual([0, false]);
  });
});

describe("encoded headers", () => {
  test("are JSON that tells empty from null, and keeps order, repetition and any bytes", () => {
    const headers = [
      { name: "trace", value: Buffer.from([0, 255, 10]) },
      { name: "", value: undefined },
      { name: 'é"\\', value: new Uint8Array() },
      { name: "trace", value: Buffer.from("again") },
    ];
    expect(JSON.parse(encodeHeaders(headers).toString("utf8"))).toEqual([
      ["trace", "AP8K"],
      ["", null],
      ['é"\\', ""],
      ["trace", "YWdhaW4="],
    ]);
  });

  test("decode to the original headers", () => {
    const header = fc.record({
      name: fc.string({ unit: "binary" }),
      value: fc.option(bytes, { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(header, { maxLength: 5 }), (headers) => {
        const stored = JSON.parse(encodeHeaders(headers).toString("utf8")) as [string, string | null][];
        expect(
          stored.map(([name, value]) => ({
            name,
            value: value === null ? undefined : new Uint8Array(Buffer.from(value, "base64")),
          })),
        ).toEqual(headers.map(({ name, value }) => ({ name, value: value && new Uint8Array(value) })));
      }),
      { numRuns: 300 },
    );
  });
});
