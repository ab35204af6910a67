// Counts the dead letters among the last records of each partition, and says where they exceed DEAD_LETTER_LIMIT.

import type { RejectionReason } from "../../shared/event.ts";
import type { Span } from "../../shared/pipeline/span.ts";

/** The limit is a share of so many offsets of a partition. */
const WINDOW_OFFSETS = 1000;

/** Too many dead letters among the last records of a partition. */
export interface Excess {
  readonly deadLetters: number;
  /** The most frequent one. */
  readonly reason: RejectionReason;
  /** One clause for a person. */
  readonly because: string;
}

/** The dead letters of one reading of a partition, as far back as the window reaches. */
interface Window {
  readonly topicId: string;
  readonly reading: number;
  /** By offset: a record that is read again counts once. */
  readonly reasons: Map<number, RejectionReason>;
}

/**
 * Remembers dead letters by their offsets, also across a resync, so that records that are read again are judged as
 * before. A new owner of the partition begins with none.
 */
export class DeadLetterBudget {
  readonly #limit: number | undefined;
  readonly #bySlot = new Map<number, Window>();

  /** @param limit a share, 0 to 1; undefined: there is none */
  constructor(limit: number | undefined) {
    this.#limit = limit;
  }

  /** False where nothing has to be counted. */
  get isLimited(): boolean {
    return this.#limit !== undefined;
  }

  /** Counts a dead letter. @returns the excess, where there is one at its offset */
  note(
    slot: number,
    { topicId, reading }: Pick<Span, "topicId" | "reading">,
    offset: number,
    reason: RejectionReason,
  ): Excess | undefined {
    if (this.#limit === undefined) return undefined;
    const { reasons } = this.#windowOf(slot, topicId, reading);
    reasons.set(offset, reason);
    const counts = new Map<RejectionReason, number>();
    let deadLetters = 0;
    for (const [at, each] of reasons) {
      if (at <= offset - WINDOW_OFFSETS) reasons.delete(at);
      else if (at <= offset) {
        deadLetters++;
        counts.set(each, (counts.get(each) ?? 0) + 1);
      }
    }
    if (deadLetters <= this.#limit * WINDOW_OFFSETS) return undefined;
    const [mostFrequent, count] = [...counts].reduce((most, next) => (next[1] > most[1] ? next : most));
    const because =
      `${deadLetters} of its last ${WINDOW_OFFSETS} records are dead letters, ${count} of them ${mostFrequent}: ` +
      `more than DEAD_LETTER_LIMIT=${this.#limit} allows`;
    return { deadLetters, reason: mostFrequent, because };
  }

  #windowOf(slot: number, topicId: string, reading: number): Window {
    const known = this.#bySlot.get(slot);
    if (known?.topicId === topicId && known.reading === reading) return known;
    const window = { topicId, reading, reasons: new Map<number, RejectionReason>() };
    this.#bySlot.set(slot, window);
    return window;
  }
}
