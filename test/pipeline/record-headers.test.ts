import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { encodeHeaders } from "../../shared/pipeline/record-headers.ts";

const bytes = fc.uint8Array({ maxLength: 50 });

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
