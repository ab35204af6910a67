// Reads from a line of JSON what the producer needs to know of it: its user and its event type.
import { isUtf8 } from "node:buffer";
import { stringAt } from "../pipeline/byte-parsers.ts";
import { EVENT_TYPE, NONE, RecordScanner, USER_ID } from "../pipeline/record-scanner.ts";

/** The key of the record made from a line, and its type. */
export interface LineIdentity {
  /** The user_id of a JSON object, if it is a string; otherwise the record has no key. */
  readonly userId: string | undefined;
  /** Its event_type likewise, for counting. */
  readonly eventType: string | undefined;
}

const NEWLINE = 10;
const QUOTE = 34;
const NO_IDENTITY: LineIdentity = { userId: undefined, eventType: undefined };
const INITIAL_BYTES = 64 * 1024;

/** Identifies one line at a time. It builds no other value of a line, so that no line takes more than its own size. */
export class LineIdentifier {
  readonly #record = new RecordScanner();
  /** A copy of the line with a newline after it, as the scanner needs it. */
  #bytes = Buffer.allocUnsafeSlow(INITIAL_BYTES);

  /** Reads user_id and event_type; both are undefined if the line is not a JSON object in UTF-8. */
  identify(line: Uint8Array): LineIdentity {
    const { length } = line;
    if (length >= this.#bytes.length) this.#bytes = Buffer.allocUnsafeSlow(2 * length);
    this.#bytes.set(line);
    this.#bytes[length] = NEWLINE;
    const isJson = this.#record.scan(this.#bytes, 0, length);
    if (!isJson || !isUtf8(this.#bytes.subarray(0, length))) return NO_IDENTITY;
    return { userId: this.#text(USER_ID), eventType: this.#text(EVENT_TYPE) };
  }

  #text(member: number): string | undefined {
    const start = this.#record.starts[member]!;
    if (start === NONE || this.#bytes[start] !== QUOTE) return undefined;
    return stringAt(this.#bytes, start, this.#record.ends[member]!) || undefined;
  }
}
