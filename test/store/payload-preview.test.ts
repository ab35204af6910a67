import { describe, expect, test } from "bun:test";
import { previewOf } from "../../shared/store/payload-preview.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

describe("a payload preview", () => {
  test("shows UTF-8 as text and keeps its line breaks", () => {
    const text = '{"a": "grüße 😀"}\n\tb';
    expect(previewOf(bytes(text), 23)).toEqual({
      form: "text",
      shown: text,
      bytes: 23,
      keptBytes: 23,
      isCut: false,
    });
    expect(previewOf(bytes(""), 0)).toEqual({
      form: "text",
      shown: "",
      bytes: 0,
      keptBytes: 0,
      isCut: false,
    });
  });

  test("is null for an absent payload", () => expect(previewOf(null, null)).toBeNull());

  test("leaves out a character that the cut has split", () => {
    const beginning = bytes("abc😀").subarray(0, 5);
    expect(previewOf(beginning, 100)).toEqual({
      form: "text",
      shown: "abc",
      bytes: 100,
      keptBytes: 100,
      isCut: true,
    });
    // As a whole value the same bytes are not UTF-8.
    expect(previewOf(beginning, 5)).toMatchObject({ form: "hex", shown: "61 62 63 f0 9f" });
  });

  test("shows the first bytes of other values as hexadecimal", () => {
    const large = new Uint8Array(8192).fill(255);
    const content = previewOf(large, 900_000);
    expect(content).toMatchObject({ form: "hex", bytes: 900_000, isCut: true });
    expect(content?.shown).toHaveLength(2048 * 3 - 1);
    expect(previewOf(new Uint8Array([0, 255]), 2)).toEqual({
      form: "hex",
      shown: "00 ff",
      bytes: 2,
      keptBytes: 2,
      isCut: false,
    });
  });

  test("shows an invisible character by its code, and keeps line breaks", () => {
    const content = previewOf(bytes("a\u0000b\r\n\tc"), 8);
    expect(content?.shown).toBe("a\\u{0}b\\u{d}\n\tc");
  });
});
