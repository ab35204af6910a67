// Supplies the records to send, one at a time: simulated events, or lines of JSON.
import { FatalError } from "../runtime/errors.ts";
import { LineIdentifier } from "./line-identity.ts";
import { LineSplitter } from "./line-splitter.ts";
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

/** Where not one of so many lines is an event, the input is something else than events. */
const MAX_LINES_WITHOUT_EVENT = 1000;

/** Lines, unchanged: the value is the bytes of the line, the key is its user_id if it has one. */
export class LineRecords implements RecordSource {
  readonly #chunks: AsyncIterator<Uint8Array>;
  /** Lines that are JSON objects with a user_id and an event_type; only the consumer knows whether it accepts them. */
  events = 0;
  readonly #splitter = new LineSplitter();
  readonly #identifier = new LineIdentifier();
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

  /** Lines that were supplied. */
  get lines(): number {
    return this.#splitter.lines - this.#lines.length + this.#index;
  }

  get ready(): boolean {
    return this.#index < this.#lines.length;
  }

  next(): OutgoingRecord {
    const value = this.#lines[this.#index++];
    if (value === undefined) throw new Error("no line is ready");
    const { userId, eventType } = this.#identifier.identify(value);
    if (userId !== undefined && eventType !== undefined) this.events++;
    return { key: userId, value, eventType };
  }

  /** @throws FatalError when the input cannot be read, and when it holds no events */
  async more(): Promise<boolean> {
    if (this.events === 0 && this.lines >= MAX_LINES_WITHOUT_EVENT) {
      throw new FatalError(
        `PRODUCER_INPUT: none of the first ${this.lines} lines is an event, so the rest was not published (an event is a JSON object with user_id and event_type)`,
      );
    }
    while (!this.ready && !this.#ended) {
      const { value, done } = await this.#chunks.next();
      this.#ended = done === true;
      this.#lines = this.#ended || value === undefined ? this.#splitter.end() : this.#splitter.push(value);
      this.#index = 0;
    }
    return this.ready;
  }
}
