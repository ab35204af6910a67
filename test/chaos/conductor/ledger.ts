// Compares every table with the fold of the records below the stored offsets, and with what was acknowledged.
import { compareHours, differences, MAX_SAMPLES, missing, namedEvents } from "./differences.ts";
import type { LogHistories, LogHistory, LogKey } from "./log-history.ts";
import { codeOf, type EVENT_TYPES, factsOf } from "./record.ts";
import {
  type EventSum,
  mixOf,
  type StoredHour,
  type StoredPartition,
  type StoredTables,
} from "./stored-tables.ts";

/** Offsets [from, to) that Kafka deleted while the stored offset of the reading was `from`. */
export interface Deletion extends LogKey {
  readonly reading: number;
  readonly from: number;
  readonly to: number;
}

/** A record that a broker has acknowledged. */
export interface Acknowledged {
  /** Negative where the broker did not say it. */
  readonly offset: number;
  readonly number: number;
}

/** What the tables must hold for their stored offsets. */
interface Fold {
  readonly raw: EventSum;
  readonly events: ReadonlySet<number>;
  readonly hours: ReadonlyMap<string, StoredHour>;
  readonly letters: ReadonlySet<string>;
}

/** What a comparison of the tables with the logs has found. */
export interface Contradictions {
  /** One sentence each; none where every row is that of the fold. */
  readonly problems: readonly string[];
  /** Events below the stored offsets without a row. */
  readonly lost: number;
  /** Rows of events more than the logs have below the stored offsets. */
  readonly doubled: number;
}

/** Everything that is known about a run's records besides the tables. */
export class Ledger {
  readonly histories: LogHistories;
  readonly deletions: Deletion[] = [];
  readonly #baseHour: number;

  /** @param baseHour the hour in which the run began, hours since 1970 */
  constructor(histories: LogHistories, baseHour: number) {
    this.histories = histories;
    this.#baseHour = baseHour;
  }

  /**
   * What is wrong with the tables. The histories must reach as far as the stored offsets.
   * @param storedEvents reads the numbers of all stored events, to name those that are lost or doubled
   */
  async contradictions(tables: StoredTables, storedEvents: () => Promise<number[]>): Promise<Contradictions> {
    const problems: string[] = [];
    const fold = this.#fold(tables.partitions, problems);
    const { raw } = tables;
    if (raw.count !== fold.raw.count || raw.sum !== fold.raw.sum || raw.mix !== fold.raw.mix) {
      problems.push(`raw_events: ${raw.count} rows, the log has ${fold.raw.count} events`);
      problems.push(...namedEvents(fold.events, await storedEvents()));
    }
    if (tables.wrongRaw > 0) problems.push(`raw_events: ${tables.wrongRaw} rows differ from their records`);
    problems.push(...compareHours(fold.hours, tables.hours));
    const letters = new Set(tables.letters.map(letterKey));
    problems.push(...missing("dead_letter_events lacks", fold.letters, letters));
    problems.push(...missing("dead_letter_events has too much", letters, fold.letters));
    const surplus = raw.count - fold.raw.count;
    return { problems, lost: Math.max(0, -surplus), doubled: Math.max(0, surplus) };
  }

  /**
   * The acknowledged records of a partition that its log does not hold, although no fault has cut it.
   * @returns what is wrong, and how many acknowledged records faults of Kafka have cut off
   */
  checkAcknowledged(key: LogKey, acknowledged: readonly Acknowledged[]): { problems: string[]; cut: number } {
    const history = this.histories.of(key);
    let cut = 0;
    const lost = acknowledged.filter(({ offset, number }) => {
      const code = codeOf(number);
      if (offset < 0) return !history.hasHeldAnywhere(code);
      if (history.at(offset) === code) return false;
      if (history.wasCut(offset)) {
        cut++;
        return false;
      }
      return true;
    });
    if (lost.length === 0) return { problems: [], cut };
    const samples = lost.slice(0, MAX_SAMPLES).map(({ offset, number }) => `record ${number} at ${offset}`);
    return {
      problems: [
        `${nameOf(key)}: ${lost.length} acknowledged records are not in the log: ${samples.join(", ")}`,
      ],
      cut,
    };
  }

  #fold(partitions: readonly StoredPartition[], problems: string[]): Fold {
    const events = new Set<number>();
    const letters = new Set<string>();
    partitions.forEach((row, index) => {
      const history = this.histories.of(row);
      const generation = generationOf(history, row, partitions[index + 1]);
      const deleted = this.deletions.filter(
        (deletion) => isOf(deletion, row) && deletion.reading === row.reading && deletion.to <= row.next,
      );
      let [valid, broken] = [0, 0];
      let unread: number | undefined;
      for (let offset = row.first; offset < row.next; offset++) {
        const gone = deleted.find(({ from, to }) => offset >= from && offset < to);
        if (gone !== undefined) {
          offset = gone.to - 1;
          continue;
        }
        const code = history.at(offset, generation);
        if (code === undefined) unread ??= offset;
        else if (code < 0) {
          broken++;
          letters.add(letterKey({ ...row, offset }));
        } else {
          valid++;
          events.add(code);
        }
      }
      const name = `${nameOf(row)} reading ${row.reading}`;
      if (unread !== undefined) problems.push(`${name}: the log holds nothing at ${unread}, which is stored`);
      const gone = deleted.reduce((sum, { from, to }) => sum + to - from, 0);
      problems.push(
        ...differences(name, [
          ["consumed", row.consumed, valid + broken],
          ["stored + duplicates", row.stored + row.duplicates, valid],
          ["dead_lettered", row.deadLettered, broken],
          ["deleted", row.deleted, gone],
          ["gaps", row.gaps, 0],
        ]),
      );
    });
    const stored = partitions.reduce((sum, row) => sum + row.stored, 0);
    problems.push(...differences("pipeline_offsets", [["stored", stored, events.size]]));
    return { raw: sumOf(events), events, hours: this.#hoursOf(events), letters };
  }

  #hoursOf(events: ReadonlySet<number>): Map<string, StoredHour> {
    interface Sum {
      readonly users: Set<string>;
      events: number;
      durationMs: number;
      durations: number;
    }
    const sums = new Map<string, Sum>();
    for (const event of events) {
      const { hour, type, user, durationMs } = factsOf(event, this.#baseHour);
      const key = `${hour} ${type}`;
      let sum = sums.get(key);
      if (sum === undefined) {
        sum = { users: new Set(), events: 0, durationMs: 0, durations: 0 };
        sums.set(key, sum);
      }
      sum.events++;
      sum.users.add(user);
      if (durationMs !== undefined) {
        sum.durationMs += durationMs;
        sum.durations++;
      }
    }
    return new Map(
      [...sums].map(([key, { users, ...sum }]) => {
        const [hour, type] = key.split(" ") as [string, (typeof EVENT_TYPES)[number]];
        return [key, { hour: Number(hour), type, users: users.size, userRows: users.size, ...sum }];
      }),
    );
  }
}

/**
 * Which form of the log a row has read: the newest one, or, where a later reading follows, the one before the cut at
 * which that begins. A reading that begins elsewhere reads all of the log again: then it is the newest form but one that
 * reaches as far as the row.
 */
function generationOf(
  history: LogHistory,
  row: StoredPartition,
  later: StoredPartition | undefined,
): number | undefined {
  if (later === undefined || !isOf(later, row)) return undefined;
  const cut = history.generationCutAt(later.first);
  return cut === undefined ? history.generationUpTo(row.next) : cut - 1;
}

function sumOf(events: ReadonlySet<number>): EventSum {
  let [sum, mix] = [0, 0];
  for (const event of events) {
    sum += event;
    mix += mixOf(event);
  }
  return { count: events.size, sum, mix };
}

function letterKey({
  topic,
  topicId,
  partition,
  reading,
  offset,
}: (StoredPartition & { offset: number }) | StoredTables["letters"][number]): string {
  return `${topic} ${topicId} [${partition}] ${reading} at ${offset}`;
}

function isOf(a: LogKey, b: LogKey): boolean {
  return a.topic === b.topic && a.topicId === b.topicId && a.partition === b.partition;
}

function nameOf({ topic, topicId, partition }: LogKey): string {
  return `${topic} ${topicId.slice(0, 6)} [${partition}]`;
}
