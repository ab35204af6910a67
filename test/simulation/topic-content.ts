// Generates the records of simulated topics, few and of every kind.

import { HOUR_MS } from "../../shared/pipeline/aggregate.ts";
import { INVALID_RECORDS, type Content, recordText } from "../properties/arbitrary-topic.ts";
import { rawRow } from "../properties/fold.ts";
import { NOW_MS } from "../pipeline/record.ts";
import type { SeededChoices } from "../support/seeded-random.ts";
import type { TopicRecord } from "./topic-record.ts";

const EVENT_TYPES = ["page_view", "purchase", "login", 'odd "type", {é}\\'];
const USERS = ["user_1", "user_2", "user_3", "NULL", "ü,{}"];
const HOURS_AGO = [0, 0, 0, 1, 2, 3, 100, 400_000];
const DATA: readonly Content["data"][] = [
  {},
  { page: '/"quoted"', depth: [1, { a: null }] },
  { amount: 100.01, is_high_value: "mine" },
  { amount: "150" },
];
const DURATIONS = [undefined, 0, 1, 5000, 1e12];
const INVALID = Object.entries(INVALID_RECORDS).filter(([how]) => how !== "refused");

/** Generates the content of one history. */
export class TopicContent {
  readonly #choices: SeededChoices;
  readonly #repeatsIds: boolean;
  readonly #contents: Content[];
  #unique = 0;

  /** @param repeatsIds whether an event_id may come twice, always with the same content */
  constructor(choices: SeededChoices, repeatsIds: boolean) {
    this.#choices = choices;
    this.#repeatsIds = repeatsIds;
    this.#contents = Array.from({ length: 12 }, () => this.#content());
  }

  /** The next offset of a log: a record, or undefined where it holds none. */
  next(): TopicRecord | undefined {
    const choices = this.#choices;
    if (choices.once(12)) return undefined;
    const unique = `${this.#unique++}`;
    const key = Buffer.from(`key_${unique}`);
    if (choices.once(8)) {
      const { value, reason } = choices.one(INVALID)[1];
      return { key, value: value === undefined ? undefined : Buffer.from(value), event: undefined, reason };
    }
    const isRepeated = this.#repeatsIds && choices.once(4);
    const number = choices.below(this.#contents.length);
    const content = this.#contents[number]!;
    const id = isRepeated ? `event_${number}` : `event_u${unique}`;
    return {
      key: choices.once(5) ? undefined : key,
      value: Buffer.from(recordText(id, content)),
      event: rawRow(id, content),
      reason: undefined,
    };
  }

  #content(): Content {
    const choices = this.#choices;
    const hour = Math.floor(NOW_MS / HOUR_MS) - choices.one(HOURS_AGO);
    return {
      userId: choices.one(USERS),
      eventType: choices.one(EVENT_TYPES),
      micros:
        BigInt(hour * HOUR_MS) * 1000n +
        BigInt(choices.one([0, 3_599_999_999, choices.below(3_600_000_000)])),
      durationMs: choices.one(DURATIONS),
      data: choices.one(DATA),
    };
  }
}
