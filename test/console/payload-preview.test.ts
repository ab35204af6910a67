import { expect, test } from "bun:test";
import { previewOf } from "../../shared/console/payload-preview.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

test("UTF-8 is shown as text, with its lines", () => {
  const text = '{"a": "grüße 😀"}\n\tb';
  expect(previewOf(bytes(text), 23)).toEqual({ form: "text", shown: text, bytes: 23, isCut: false });
  expect(previewOf(bytes(""), 0)).toEqual({ form: "text", shown: "", bytes: 0, isCut: false });
});

test("nothing is nothing", () => expect(previewOf(null, null)).toBeNull());

test("what is cut within a character is text all the same", () => {
  const beginning = bytes("abc😀").subarray(0, 5);
  expect(previewOf(beginning, 100)).toEqual({ form: "text", shown: "abc", bytes: 100, isCut: true });
  // The same bytes as a whole value are no UTF-8.
  expect(previewOf(beginning, 5)).toMatchObject({ form: "hex", shown: "61 62 63 f0 9f" });
});

test("other bytes are hexadecimal, a few of them", () => {
  const large = new Uint8Array(8192).fill(255);
  const content = previewOf(large, 900_000);
  expect(content).toMatchObject({ form: "hex", bytes: 900_000, isCut: true });
  expect(content?.shown).toHaveLength(2048 * 3 - 1);
  expect(previewOf(new Uint8Array([0, 255]), 2)).toEqual({
    form: "hex",
    shown: "00 ff",
    bytes: 2,
    isCut: false,
  });
});

test("a character that is invisible is shown by its code, and lines stay", () => {
  const content = previewOf(bytes("a\u0000b\r\n\tc"), 8);
  expect(content?.shown).toBe("a\\u{0}b\\u{d}\n\tc");
});
