// Reads native memory, and is the only place where a number becomes a pointer.
//
// A wrong pointer ends the process. So every pointer that C returns passes `pointer`, and every pointer that the
// rest of the program holds came from here.
import { CString, type Pointer, ptr, read } from "bun:ffi";

export type { Pointer } from "bun:ffi";

/** What a C function may return as a pointer. */
export type Returned = Pointer | number | bigint | null;

/** The two halves of a 64-bit integer are `low + high * WORD`. */
export const WORD = 2 ** 32;

export function isNull(value: Returned): boolean {
  return value === null || Number(value) === 0;
}

/**
 * Checks a pointer that C returned.
 * @throws Error when it is NULL or not an address
 */
export function pointer(value: Returned, what: string): Pointer {
  const found = Number(value);
  if (!Number.isSafeInteger(found) || found <= 0) {
    throw new Error(`librdkafka returned no valid pointer for ${what}`);
  }
  return address(found);
}

/** Makes a pointer of a number that was computed from checked ones. */
export function address(value: number): Pointer {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- C has no other type for it
  return value as Pointer;
}

/** The address of a buffer; the caller keeps the buffer alive for as long as C uses the address. */
export function addressOf(buffer: NodeJS.TypedArray): Pointer {
  return pointer(ptr(buffer), "a buffer");
}

/** A 32-bit integer. */
export function readI32(at: Pointer, offset: number): number {
  return read.i32(at, offset);
}

/** A 64-bit integer; exact up to 2^53. */
export function readI64(at: Pointer, offset: number): number {
  return read.u32(at, offset) + read.i32(at, offset + 4) * WORD;
}

/** @throws Error when the pointer that lies there is NULL */
export function readPointer(at: Pointer, offset: number, what: string): Pointer {
  return pointer(read.ptr(at, offset), what);
}

/** A C string; bytes that are not UTF-8 become U+FFFD. */
export function readText(at: Returned): string {
  return new CString(pointer(at, "a text"));
}

/** Four words of 64 bits for C to write results into. One thread uses them, and reads them before its next call. */
export class Scratch {
  readonly at: Pointer;
  readonly #words = new BigUint64Array(4);
  readonly #halves = new Uint32Array(this.#words.buffer);

  constructor() {
    this.at = addressOf(this.#words);
  }

  /** The address of a word, to pass to C. */
  addressOf(word: number): Pointer {
    return address(Number(this.at) + 8 * word);
  }

  set(word: number, value: number): void {
    this.#words[word] = BigInt(value);
  }

  /** What a word holds; exact up to 2^53. */
  get(word: number): number {
    return this.#halves[2 * word]! + this.#halves[2 * word + 1]! * WORD;
  }

  /** The lower half of a word, for a result of 32 bits. */
  get32(word: number): number {
    return this.#halves[2 * word]!;
  }
}
