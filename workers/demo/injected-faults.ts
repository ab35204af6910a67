// Good records in; the same out, with a broken one and a repeated event_id among every thousand, on purpose.
import type { OutgoingRecord, RecordSource } from "../../shared/producer/record-source.ts";

/** One record in this many is broken, and one in this many repeats an event_id. */
export const PLANTED_EVERY = 1000;
/** Their types in the producer's ledger, so that the acknowledged ones can be counted. */
export const BROKEN = "(broken)";
export const REPEATED = "(repeated)";

/** Where in each thousand: early, so that a short run has some too. */
const REMEMBER_AT = 50;
const BREAK_AT = 100;
const REPEAT_AT = 200;

/** Ways to break the JSON text of a good event; each has a dead-letter reason of its own. */
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
export function withPlantedFaults(source: RecordSource): RecordSource {
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
      switch (number % PLANTED_EVERY) {
        case REMEMBER_AT:
          remembered = record;
          return record;
        case BREAK_AT: {
          const way = WAYS[Math.floor(number / PLANTED_EVERY) % WAYS.length]!;
          return { ...record, value: way(record.value), eventType: BROKEN };
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

/** The very same record again, or in turn the same event under another key: maybe in another partition. */
function repeat(remembered: OutgoingRecord, other: OutgoingRecord, number: number): OutgoingRecord {
  const isSameKey = Math.floor(number / PLANTED_EVERY) % 2 === 0;
  return isSameKey ? remembered : { ...remembered, key: other.key };
}
