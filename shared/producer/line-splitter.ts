// Splits the bytes of an input into lines, unchanged.
import { FatalError } from "../runtime/errors.ts";

const NEWLINE = 10;
/** The consumer accepts records of 1 MiB. A longer line than this would only fill the memory. */
const MAX_LINE_BYTES = 32 * 1024 * 1024;

/**
 * Splits bytes into lines. The bytes of a line stay unchanged (invalid UTF-8, a carriage return); only the newline is
 * removed. Lines of white space only are skipped and counted. The lines of one array may share memory and are valid
 * as long as the caller holds them.
 */
export class LineSplitter {
  /** Lines of white space only. */
  blankLines = 0;
  /** Lines returned. */
  lines = 0;
  #parts: Uint8Array[] = [];
  #partBytes = 0;
  readonly #maxLineBytes: number;

  constructor(maxLineBytes = MAX_LINE_BYTES) {
    this.#maxLineBytes = maxLineBytes;
  }

  /**
   * The lines that `chunk` completes.
   * @throws FatalError when a line is longer than the limit
   */
  push(chunk: Uint8Array): Uint8Array[] {
    const lines: Uint8Array[] = [];
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      this.#keep(this.#complete(chunk.subarray(start, end)), lines);
      start = end + 1;
    }
    if (start < chunk.length) this.#addPart(chunk.subarray(start));
    return lines;
  }

  /** The last line, if no newline ends it. */
  end(): Uint8Array[] {
    const lines: Uint8Array[] = [];
    if (this.#partBytes > 0) this.#keep(this.#complete(new Uint8Array(0)), lines);
    return lines;
  }

  /** Joins the parts once, when the line is complete: a long line costs no more per byte than a short one. */
  #complete(last: Uint8Array): Uint8Array {
    if (this.#partBytes === 0) return last;
    const line = Buffer.concat([...this.#parts, last]);
    this.#parts = [];
    this.#partBytes = 0;
    return line;
  }

  #addPart(part: Uint8Array): void {
    this.#partBytes += part.length;
    if (this.#partBytes > this.#maxLineBytes) {
      const number = this.lines + this.blankLines + 1;
      throw new FatalError(
        `PRODUCER_INPUT: line ${number} is longer than ${this.#maxLineBytes} bytes, so this is not a file of JSON lines`,
      );
    }
    // Copied, because a reader may reuse its buffer for the next chunk. Buffer.slice would not copy.
    this.#parts.push(new Uint8Array(part));
  }

  #keep(line: Uint8Array, lines: Uint8Array[]): void {
    if (isBlank(line)) this.blankLines++;
    else {
      this.lines++;
      lines.push(line);
    }
  }
}

function isBlank(line: Uint8Array): boolean {
  // 32 space, 9 tab, 13 carriage return, 10 newline
  return line.every((byte) => byte === 32 || byte === 9 || byte === 13);
}
