import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { MAX_BLOCK_BYTES, MAX_KEPT_BYTES, RecordBlock } from "../../shared/pipeline/record-block.ts";
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
          expect(block.headers(index)).toBeUndefined();
          // A reader that runs past a value's end meets a newline.
          if (value !== undefined) expect(block.bytes[block.valueEnd[index]!]).toBe(10);
        }
      },
    ),
    { numRuns: 300 },
  );
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

  test("is full by its keys and headers as well", () => {
    for (const part of ["key", "headers"] as const) {
      const million = new Uint8Array(1_000_000);
      const block = new RecordBlock(1000);
      const record = part === "key" ? { key: million } : { headers: [{ name: "h", value: million }] };
      while (!block.full) addRecord(block, { offset: block.count, value: "{}", ...record });
      expect(block.count).toBe(Math.ceil(MAX_BLOCK_BYTES / 1_000_000));
      expect(block.bytes.length).toBeLessThan(MAX_BLOCK_BYTES + 5 * MAX_KEPT_BYTES);
    }
  });

  test("gives the memory of a large batch back while small ones follow", () => {
    const block = new RecordBlock(100);
    const initial = block.bytes.length;
    while (!block.full) addRecord(block, { offset: block.count, value: new Uint8Array(MAX_KEPT_BYTES) });
    expect(block.bytes.length).toBeGreaterThan(MAX_BLOCK_BYTES);
    for (let batch = 0; batch < 6; batch++) {
      block.clear();
      addRecord(block, { offset: batch, value: "{}" });
    }
    expect(block.bytes.length).toBe(initial);
  });
});

describe("the headers of a record", () => {
  const named = (name: string, length: number) => ({ name, value: new Uint8Array(length) });
  const keptNames = (block: RecordBlock) =>
    (JSON.parse(String(block.headers(0))) as [string, string | null][]).map(([name]) => name);

  test("are kept whole up to the limit", () => {
    const block = new RecordBlock(1);
    addRecord(block, { offset: 0, value: "", headers: [named("a", MAX_KEPT_BYTES - 100), named("b", 50)] });
    expect([keptNames(block), block.cutHeaderBytes(0)]).toEqual([["a", "b"], undefined]);
  });

  test("beyond the limit are left out from the first that does not fit, and their length is known", () => {
    const block = new RecordBlock(1);
    const headers = [named("a", 500_000), named("b", 600_000), named("c", 1), named("d", 100_000_000)];
    addRecord(block, { offset: 0, value: "", headers });
    expect([keptNames(block), block.cutHeaderBytes(0)]).toEqual([["a"], 101_100_005]);
    expect(block.used).toBeLessThan(600_000);
  });

  test("are told from none", () => {
    const block = new RecordBlock(2);
    addRecord(block, { offset: 0, value: "", headers: [] });
    addRecord(block, { offset: 1, value: "" });
    expect([String(block.headers(0)), block.headers(1)]).toEqual(["[]", undefined]);
  });
});
