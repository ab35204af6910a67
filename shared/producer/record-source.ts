// Supplies the records to send, one at a time: simulated events, or lines of JSON.
import { identify, LineSplitter } from "./json-lines.ts";
import type { EventSimulator } from "./simulator.ts";

export interface OutgoingRecord {
  readonly key: string | undefined;
  /** A string only if every character is one byte. */
  readonly value: string | Uint8Array;
  readonly eventType: string | undefined;
}

export interface RecordSource {
  /** True if `next` has a record at once. */
  readonly ready: boolean;
  next(): OutgoingRecord;
  /** Waits for more records; false: the source has ended. */
  more(): Promise<boolean>;
}

/** Records of the simulator: always ready, without an end. */
export function simulatedRecords(simulator: EventSimulator): RecordSource {
  return {
    ready: true,
    next() {
      const { userId, json, eventType } = simulator.next();
      return { key: userId, value: json, eventType };
    },
    more: async () => true,
  };
}

/** Lines, unchanged: the value is the bytes of the line, the key is its user_id if it has one. */
export class LineRecords implements RecordSource {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #splitter = new LineSplitter();
  #lines: Uint8Array[] = [];
  #index = 0;
  #ended = false;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** Lines of white space only, which are skipped. */
  get blankLines(): number {
    return this.#splitter.blankLines;
  }

  get ready(): boolean {
    return this.#index < this.#lines.length;
  }

  next(): OutgoingRecord {
    const value = this.#lines[this.#index++];
    if (value === undefined) throw new Error("no line is ready");
    const { userId, eventType } = identify(value);
    return { key: userId, value, eventType };
  }

  /** @throws FatalError when the input cannot be read */
  async more(): Promise<boolean> {
    while (!this.ready && !this.#ended) {
      const { value, done } = await this.#chunks.next();
      this.#ended = done === true;
      this.#lines = this.#ended || value === undefined ? this.#splitter.end() : this.#splitter.push(value);
      this.#index = 0;
    }
    return this.ready;
  }
}
