// Opens a file or standard input of JSON lines, decompresses it, and refuses what is something else.
import { close, fstat, open, read } from "node:fs";
import { promisify } from "node:util";
import { codeOf, errorMessage, FatalError } from "../runtime/errors.ts";
import { FORMAT_BYTES, formatOf, isLayoutKnown, layoutProblemOf } from "./input-format.ts";

const CHUNK_BYTES = 262_144;
const STANDARD_INPUT = 0;
/** How long to wait for more of a standard input that another program has made non-blocking. */
const EMPTY_WAIT_MS = 20;
/** A file that was compressed twice is decompressed twice; more is no accident. */
const MAX_CODECS = 2;

const openFile = promisify(open);
const statFile = promisify(fstat);
const readFile = promisify(read);
const closeFile = promisify(close);

type Chunks = AsyncIterable<Uint8Array>;

/**
 * Opens PRODUCER_INPUT.
 * @param input a path, or "-" for standard input
 * @returns its text in chunks, without compression and byte order mark, read only as fast as they are taken
 * @throws FatalError when it cannot be opened; the iteration throws it when the input cannot be read, and before the
 * first chunk when it is something else than lines of JSON
 */
export async function openInput(input: string): Promise<Chunks> {
  try {
    return explained(input, textOf(input === "-" ? chunksOf(STANDARD_INPUT) : await fileChunks(input)));
  } catch (error) {
    throw unreadable(input, error);
  }
}

async function fileChunks(path: string): Promise<Chunks> {
  const fd = await openFile(path, "r");
  if (!(await statFile(fd)).isDirectory()) return chunksOf(fd);
  await closeFile(fd);
  throw new Error("it is a folder");
}

async function* chunksOf(fd: number): AsyncGenerator<Uint8Array> {
  try {
    while (true) {
      const chunk = await readChunk(fd);
      if (chunk.length === 0) return;
      yield chunk;
    }
  } finally {
    await closeFile(fd);
  }
}

/**
 * Reads from where the file stands. Bun.stdin would begin at the start of a file that was read in part before.
 * @returns no bytes at the end
 */
async function readChunk(fd: number): Promise<Uint8Array> {
  for (;;) {
    try {
      const { bytesRead, buffer } = await readFile(fd, Buffer.allocUnsafe(CHUNK_BYTES), 0, CHUNK_BYTES, null);
      return buffer.subarray(0, bytesRead);
    } catch (error) {
      if (codeOf(error) !== "EAGAIN") throw error;
      await Bun.sleep(EMPTY_WAIT_MS);
    }
  }
}

/** @throws Error when the input is something else than lines of JSON, or its compression is damaged */
async function* textOf(chunks: Chunks, codecs = 0): AsyncGenerator<Uint8Array> {
  const input = chunks[Symbol.asyncIterator]();
  let head = await readHead(input, Buffer.alloc(0), ({ length }) => length >= FORMAT_BYTES);
  const format = formatOf(head);
  if (format.kind === "compressed") {
    if (codecs === MAX_CODECS)
      throw notLines({ what: "compressed again and again", advice: "decompress it" });
    yield* textOf(decompressed(format.codec, continued(head, input)), codecs + 1);
    return;
  }
  if (format.kind === "refused") throw notLines(format);
  head = await readHead(input, head.subarray(format.byteOrderMarkBytes), isLayoutKnown);
  const problem = layoutProblemOf(head);
  if (problem !== undefined) throw notLines(problem);
  yield* continued(head, input);
}

/** Reads until the head is enough, or the input ends. */
async function readHead(
  input: AsyncIterator<Uint8Array>,
  first: Buffer,
  isEnough: (head: Buffer) => boolean,
): Promise<Buffer> {
  let head = first;
  while (!isEnough(head)) {
    const { value, done } = await input.next();
    if (done === true || value === undefined) return head;
    head = Buffer.concat([head, value]);
  }
  return head;
}

async function* continued(head: Buffer, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (head.length > 0) yield head;
  yield* { [Symbol.asyncIterator]: () => rest };
}

/** Not through node:zlib: Bun's streams there take a zstd file that is cut off for a whole one. */
async function* decompressed(
  codec: "gzip" | "zstd",
  chunks: AsyncGenerator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const compressed = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      const { value, done } = await chunks.next();
      if (done === true) controller.close();
      else controller.enqueue(new Uint8Array(value));
    },
  });
  try {
    yield* compressed.pipeThrough(new DecompressionStream(codec));
  } catch (error) {
    throw new Error(`its ${codec} data are damaged or cut off (${errorMessage(error)})`, { cause: error });
  }
}

async function* explained(input: string, chunks: Chunks): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks;
  } catch (error) {
    throw unreadable(input, error);
  }
}

function notLines({ what, advice }: { readonly what: string; readonly advice: string }): Error {
  return new Error(`it is ${what}, and one JSON object on each line is needed: ${advice}`);
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
