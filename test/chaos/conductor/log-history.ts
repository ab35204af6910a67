// Remembers what each offset of each partition has held, also where the log was cut and written again.
import type { RecordCode } from "./record.ts";

/** One topic of one id, and a partition of it. */
export interface LogKey {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
}

/** What a log held from one cut to the next. */
interface Generation {
  /** The first offset that was written again; the log's beginning in the first generation. */
  readonly from: number;
  readonly records: Map<number, RecordCode>;
  /** The offset after the last one that was read. */
  end: number;
}

/** Every offset of one partition that a reader has seen. */
export class LogHistory {
  readonly #generations: Generation[] = [{ from: 0, records: new Map(), end: 0 }];

  /** The next offset to read. */
  get end(): number {
    return this.#last.end;
  }

  get generations(): number {
    return this.#generations.length;
  }

  /** Records in the log's newest form. */
  add(offset: number, code: RecordCode): void {
    const last = this.#last;
    last.records.set(offset, code);
    last.end = Math.max(last.end, offset + 1);
  }

  /** The log was cut: what follows is written again from `offset`. */
  cutAt(offset: number): void {
    this.#generations.push({ from: offset, records: new Map(), end: offset });
  }

  /** Where a generation after the first begins. */
  cutOf(generation: number): number {
    return this.#generations[generation]!.from;
  }

  /** The generation that begins with a cut at `offset`. */
  generationCutAt(offset: number): number | undefined {
    const found = this.#generations.findLastIndex(({ from }, index) => index > 0 && from === offset);
    return found < 0 ? undefined : found;
  }

  /** The newest generation, except the last one, that reached as far as `end`. */
  generationUpTo(end: number): number | undefined {
    const found = this.#generations.slice(0, -1).findLastIndex((generation) => generation.end >= end);
    return found < 0 ? undefined : found;
  }

  /** What stood at an offset in a generation; undefined where nothing did. */
  at(offset: number, generation = this.#generations.length - 1): RecordCode | undefined {
    for (let index = generation; index >= 0; index--) {
      const { from, records } = this.#generations[index]!;
      if (offset >= from) return records.get(offset);
    }
    return undefined;
  }

  /** True if an offset has held that record in any generation. */
  hasHeld(offset: number, code: RecordCode): boolean {
    return this.#generations.some(({ records }) => records.get(offset) === code);
  }

  /** True if any offset has held that record. */
  hasHeldAnywhere(code: RecordCode): boolean {
    return this.#generations.some(({ records }) => records.values().some((held) => held === code));
  }

  /** True if an offset that was acknowledged in some generation has been cut off since. */
  wasCut(offset: number): boolean {
    return this.#generations.some(({ from }, index) => index > 0 && offset >= from);
  }

  get #last(): Generation {
    return this.#generations.at(-1)!;
  }
}

/** The histories of all partitions of a run. */
export class LogHistories {
  readonly #byKey = new Map<string, LogHistory>();

  of({ topic, topicId, partition }: LogKey): LogHistory {
    const key = `${topic} ${topicId} ${partition}`;
    let found = this.#byKey.get(key);
    if (found === undefined) {
      found = new LogHistory();
      this.#byKey.set(key, found);
    }
    return found;
  }
}
