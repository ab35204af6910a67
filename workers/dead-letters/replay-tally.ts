// Counts what a replay has made of the letters, for a person and as JSON.

import type { LetterOutcome } from "../../shared/store/dead-letters/letter-ledger.ts";
import { count, plural, printable } from "../../shared/text/format.ts";
import { formatLetterId } from "./letter-id.ts";

/** Rejections that are shown one by one. */
const MAX_SAMPLES = 5;

/** `replay --json` prints it. */
export interface ReplayReport {
  readonly ok: boolean;
  readonly dry_run: boolean;
  readonly letters: number;
  readonly stored: number;
  readonly duplicates: number;
  /** Left alone by the function of --edit. */
  readonly left_alone: number;
  /** Rejected again: they stay open. By reason; `edit`: the function has failed; `cut off`: not kept whole. */
  readonly rejected: Readonly<Record<string, number>>;
  readonly samples: readonly { readonly id: string; readonly error: string }[];
  readonly seconds: number;
  readonly letters_per_second: number;
}

export class ReplayTally {
  readonly #isDryRun: boolean;
  /** Of a dry run, which stores nothing: the ids that would be stored by now. */
  readonly #ids = new Set<string>();
  #stored = 0;
  #duplicates = 0;
  #leftAlone = 0;
  readonly #rejected = new Map<string, number>();
  readonly #samples: { id: string; error: string }[] = [];

  constructor(isDryRun: boolean) {
    this.#isDryRun = isDryRun;
  }

  get letters(): number {
    return this.#stored + this.#duplicates + this.#leftAlone + this.#rejections;
  }

  /** True where no letter was rejected. */
  get isWell(): boolean {
    return this.#rejected.size === 0;
  }

  get #rejections(): number {
    return [...this.#rejected.values()].reduce((sum, letters) => sum + letters, 0);
  }

  add(outcomes: readonly LetterOutcome[], leftAlone: number): void {
    this.#leftAlone += leftAlone;
    for (const { state, eventId = "", error = "", ...key } of outcomes) {
      if (state === "open") {
        const [reason = ""] = error.split(":");
        this.#rejected.set(reason, (this.#rejected.get(reason) ?? 0) + 1);
        if (this.#samples.length < MAX_SAMPLES) this.#samples.push({ id: formatLetterId(key), error });
      } else if (state === "duplicate" || this.#ids.has(eventId)) {
        this.#duplicates++;
      } else {
        this.#stored++;
        if (this.#isDryRun) this.#ids.add(eventId);
      }
    }
  }

  report(seconds: number): ReplayReport {
    return {
      ok: this.isWell,
      dry_run: this.#isDryRun,
      letters: this.letters,
      stored: this.#stored,
      duplicates: this.#duplicates,
      left_alone: this.#leftAlone,
      rejected: Object.fromEntries(this.#rejected),
      samples: this.#samples,
      seconds: Number(seconds.toFixed(3)),
      letters_per_second: Math.round(this.letters / seconds),
    };
  }

  format(seconds: number): string {
    const { letters, stored, duplicates, left_alone, rejected, samples, letters_per_second } =
      this.report(seconds);
    const head = this.#isDryRun ? "nothing is changed; a replay of" : "replayed";
    const parts = [`${count(stored)} stored`, plural(duplicates, "duplicate")];
    if (left_alone > 0) parts.push(`${count(left_alone)} left alone`);
    parts.push(`${count(this.#rejections)} rejected again`);
    const lines = [
      `${head} ${plural(letters, "dead letter")} (${count(letters_per_second)}/s): ${parts.join(", ")}`,
      ...Object.entries(rejected).map(([reason, n]) => `  rejected, and still open: ${count(n)} ${reason}`),
      ...samples.map(({ id, error }) => `    ${id}  ${printable(error)}`),
    ];
    return `${lines.join("\n")}\n`;
  }
}
