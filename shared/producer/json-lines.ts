// Reads a file or standard input and splits it into lines, unchanged.
import { type FileHandle, open } from "node:fs/promises";
import { codeOf, errorMessage, FatalError } from "../runtime/errors.ts";

const NEWLINE = 10;
const CHUNK_BYTES = 262_144;
/** No Kafka topic takes a record this long; the line would only fill the memory. */
const MAX_LINE_BYTES = 256 * 1024 * 1024;

/**
 * Opens PRODUCER_INPUT.
 * @param input a path, or "-" for standard input
 * @returns its bytes in chunks, read only as fast as they are taken
 * @throws FatalError when it cannot be opened; the iteration throws it when the input cannot be read
 */
export async function openInput(input: string): Promise<AsyncIterable<Uint8Array>> {
  if (input === "-") return explained(input, Bun.stdin.stream());
  try {
    const file = await open(input, "r");
    if ((await file.stat()).isDirectory()) {
      await file.close();
      throw new Error("it is a folder");
    }
    return explained(input, chunksOf(file));
  } catch (error) {
    throw unreadable(input, error);
  }
}

async function* chunksOf(file: FileHandle): AsyncGenerator<Uint8Array> {
  try {
    while (true) {
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(CHUNK_BYTES), 0, CHUNK_BYTES);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

async function* explained(input: string, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks;
  } catch (error) {
    throw unreadable(input, error);
  }
}

function unreadable(input: string, error: unknown): FatalError {
  return new FatalError(`PRODUCER_INPUT=${input} cannot be read: ${reasonOf(error)}`);
}

function reasonOf(error: unknown): string {
  const code = codeOf(error);
  if (code === "ENOENT") return "there is no such file";
  if (code === "EACCES") return "permission denied";
  return errorMessage(error);
}

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

/** The key of the record made from a line, and its type. */
export interface LineIdentity {
  /** The user_id of a JSON object, if it is a string; otherwise the record has no key. */
  readonly userId: string | undefined;
  /** Its event_type likewise, for counting. */
  readonly eventType: string | undefined;
}

const NO_IDENTITY: LineIdentity = { userId: undefined, eventType: undefined };

/** Reads user_id and event_type; both are undefined if the line is not a JSON object in UTF-8. */
export function identify(line: Uint8Array): LineIdentity {
  let value: unknown;
  try {
    value = JSON.parse(DECODER.decode(line));
  } catch {
    return NO_IDENTITY;
  }
  if (typeof value !== "object" || value === null) return NO_IDENTITY;
  return { userId: stringAt(value, "user_id"), eventType: stringAt(value, "event_type") };
}

const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function stringAt(value: object, name: string): string | undefined {
  const found: unknown = Object.getOwnPropertyDescriptor(value, name)?.value;
  return typeof found === "string" && found !== "" ? found : undefined;
}
