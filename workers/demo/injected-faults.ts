// Injects one invalid record and one repeated event into every thousand records of a source.
import type { OutgoingRecord, RecordSource } from "../../shared/producer/record-source.ts";

/** One record in this many is invalid, and one in this many repeats an event. */
export const INJECTED_EVERY = 1000;
/** The types of injected records in the producer's ledger, so that the acknowledged ones can be counted. */
export const INVALID = "(invalid)";
export const REPEATED = "(repeated)";

/** The positions in each thousand: early, so that a short run has injected records too. */
const REMEMBER_AT = 50;
const INVALIDATE_AT = 100;
const REPEAT_AT = 200;

/** Ways to make the JSON text of an event invalid; each leads to another dead-letter reason. */
const WAYS: readonly ((json: string) => string | Uint8Array)[] = [
  (json) => json.slice(0, json.length / 2),
  (json) => json.replace('"user_id"', '"user"'),
  (json) => json.replace(/"timestamp":"\d{4}/, '"timestamp":"2999'),
  (json) => json.replace(/"timestamp":"[^"]*"/, '"timestamp":"yesterday"'),
  (json) =>
    Uint8Array.from(Buffer.from(json), (byte, index) => (index === (json.length / 2) >> 0 ? 0xff : byte)),
  (json) => `[${json}]`,
];

/** @param source records whose values are the JSON texts of events */
export function withInjectedFaults(source: RecordSource): RecordSource {
  let drawn = 0;
  let remembered: OutgoingRecord | undefined;
  return {
    get ready() {
      return source.ready;
    },
    more: () => source.more(),
    next() {
      const number = drawn++;
      const record = source.next();
      if (typeof record.value !== "string") return record;
      switch (number % INJECTED_EVERY) {
        case REMEMBER_AT:
          remembered = record;
          return record;
        case INVALIDATE_AT: {
          const way = WAYS[Math.floor(number / INJECTED_EVERY) % WAYS.length]!;
          return { ...record, value: way(record.value), eventType: INVALID };
        }
        case REPEAT_AT:
          return remembered === undefined
            ? record
            : { ...repeat(remembered, record, number), eventType: REPEATED };
        default:
          return record;
      }
    },
  };
}

/** In turns the same record again, and the same event under another key, which may mean another partition. */
function repeat(remembered: OutgoingRecord, other: OutgoingRecord, number: number): OutgoingRecord {
  const isSameKey = Math.floor(number / INJECTED_EVERY) % 2 === 0;
  return isSameKey ? remembered : { ...remembered, key: other.key };
}
