// Recognizes from its first bytes what an input of the producer is: lines of JSON, compressed or not, or something else.

/** What to do with the bytes of an input. */
export type InputFormat =
  | { readonly kind: "lines"; readonly byteOrderMarkBytes: number }
  | { readonly kind: "compressed"; readonly codec: "gzip" | "zstd" }
  /** `what` follows "it is", `advice` says how to make lines of JSON of it. */
  | { readonly kind: "refused"; readonly what: string; readonly advice: string };

/** How many bytes `formatOf` needs, if the input has as many. */
export const FORMAT_BYTES = 4;
const UTF8_BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];
const CODECS = { gzip: [0x1f, 0x8b], zstd: [0x28, 0xb5, 0x2f, 0xfd] } as const;

/** Files that are no text, by their first bytes. */
const OTHER_FILES: readonly (readonly [what: string, start: readonly number[], advice: string])[] = [
  ["compressed by bzip2", [...Buffer.from("BZh")], "decompress it with bzip2 -d"],
  ["compressed by xz", [0xfd, 0x37, 0x7a, 0x58], "decompress it with xz -d"],
  ["compressed by lz4", [0x04, 0x22, 0x4d, 0x18], "decompress it with lz4 -d"],
  ["a zip archive", [0x50, 0x4b, 0x03, 0x04], "unpack it with unzip -p"],
  ["a 7z archive", [0x37, 0x7a, 0xbc, 0xaf], "unpack it first"],
  ["a Parquet file", [...Buffer.from("PAR1")], "convert it to one JSON object a line"],
  ["an ORC file", [...Buffer.from("ORC")], "convert it to one JSON object a line"],
  ["an Avro file", [0x4f, 0x62, 0x6a, 0x01], "convert it to one JSON object a line (avro-tools tojson)"],
];
/** A tar archive says so behind the name of its first file. */
const TAR_MARK = { at: 257, text: "ustar" };

/**
 * @param head the first bytes of the input: `FORMAT_BYTES`, or all of a shorter one; with more, more is recognized
 */
export function formatOf(head: Buffer): InputFormat {
  for (const codec of ["gzip", "zstd"] as const) {
    if (startsWith(head, CODECS[codec])) return { kind: "compressed", codec };
  }
  const other = OTHER_FILES.find(([, start]) => startsWith(head, start));
  if (other !== undefined) return { kind: "refused", what: other[0], advice: other[2] };
  if (head.toString("latin1", TAR_MARK.at, TAR_MARK.at + TAR_MARK.text.length) === TAR_MARK.text) {
    return { kind: "refused", what: "a tar archive", advice: "unpack it with tar -xO" };
  }
  const encoding = wideEncodingOf(head);
  if (encoding !== undefined) {
    const advice = `convert it with iconv -f ${encoding} -t UTF-8`;
    return { kind: "refused", what: `text in ${encoding}`, advice };
  }
  const hasMark = startsWith(head, UTF8_BYTE_ORDER_MARK);
  return { kind: "lines", byteOrderMarkBytes: hasMark ? UTF8_BYTE_ORDER_MARK.length : 0 };
}

/** UTF-16 and UTF-32 begin with a byte order mark, or have a zero byte in their first character: it is ASCII. */
function wideEncodingOf(head: Buffer): string | undefined {
  if (startsWith(head, [0xff, 0xfe, 0, 0]) || startsWith(head, [0, 0])) return "UTF-32";
  if (startsWith(head, [0xff, 0xfe]) || startsWith(head, [0xfe, 0xff])) return "UTF-16";
  if (head.length < 2 || (head[0] !== 0 && head[1] !== 0)) return undefined;
  if (head[0] === 0) return "UTF-16BE";
  return head[2] === 0 ? "UTF-32" : "UTF-16LE";
}

function startsWith(head: Buffer, start: readonly number[]): boolean {
  return head.length >= start.length && start.every((byte, index) => head[index] === byte);
}

/** How much of a text `layoutProblemOf` looks at. */
const MAX_LAYOUT_BYTES = 64 * 1024;

/** True once more bytes would not change what `layoutProblemOf` says. */
export function isLayoutKnown(head: Buffer): boolean {
  if (head.length >= MAX_LAYOUT_BYTES) return true;
  const [first, second] = firstLines(head);
  return first !== undefined && (!isOpenObject(first) || second !== undefined);
}

/** Says what is wrong with a text of JSON that does not have one object on each line; undefined for lines. */
export function layoutProblemOf(head: Buffer): Extract<InputFormat, { kind: "refused" }> | undefined {
  const text = head.toString("latin1").trimStart();
  if (text.startsWith("[")) {
    return { kind: "refused", what: "a JSON array", advice: "make lines of it with jq -c '.[]'" };
  }
  const [first, second] = firstLines(head);
  if (first === undefined || second === undefined || !isOpenObject(first) || second.startsWith("{")) {
    return undefined;
  }
  const what = "JSON with an object spread over several lines";
  return { kind: "refused", what, advice: "make lines of it with jq -c ." };
}

/** The first two complete lines that are not blank, as far as there are any. */
function firstLines(head: Buffer): string[] {
  const lines = head.toString("latin1").split("\n").slice(0, -1);
  return lines.map((line) => line.trim()).filter((line) => line !== "");
}

/** True for a line that ends within an object, as printers leave it. */
function isOpenObject(line: string): boolean {
  return /^\{(.*[{[,:])?$/.test(line);
}
