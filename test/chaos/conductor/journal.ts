// Reads the logs as a consumer of its own would, and compares the tables with them at moments and at the end.
import { checkDatabase } from "../../../shared/store/check/check.ts";
import { Session } from "../../../shared/store/session.ts";
import { eventually } from "../../support/eventually.ts";
import type { ChaosCluster } from "./cluster.ts";
import { type Contradictions, Ledger } from "./ledger.ts";
import { LogHistories, type LogKey } from "./log-history.ts";
import { readStretches } from "./log-reader.ts";
import { codeOfValue } from "./record.ts";
import { readStoredEvents, readStoredTables } from "./stored-tables.ts";

const READ_DEADLINE_MS = 90_000;
const DRAIN_DEADLINE_MS = 120_000;

/** What a comparison has found; its problems are also those of `check`. */
export interface Comparison extends Contradictions {
  /** Records that the stored offsets account for. */
  readonly consumed: number;
}

/** What a run knows about its logs, and its comparisons with the tables. */
export class Journal {
  readonly ledger: Ledger;
  readonly #cluster: ChaosCluster;
  readonly #baseHour: number;
  /** One reader at a time: the histories are appended in order. */
  #reading: Promise<unknown> = Promise.resolve();

  constructor(cluster: ChaosCluster, baseHour: number) {
    this.#cluster = cluster;
    this.#baseHour = baseHour;
    this.ledger = new Ledger(new LogHistories(), baseHour);
  }

  /** All partitions that the topics have now. */
  async partitions(): Promise<LogKey[]> {
    const ids = await this.#cluster.learnTopicIds();
    const places = await this.#cluster.inquiry.places();
    return places.map(({ topic, partition }) => ({ topic, topicId: ids.get(topic) ?? "", partition }));
  }

  /** Reads every log from where it was read last to its end. */
  readLogs(): Promise<void> {
    const reading = this.#reading.then(() => this.#readLogs());
    this.#reading = reading.catch(() => undefined);
    return reading;
  }

  /**
   * Reads a partition again from `from`, and finds where it differs from what was read before.
   * @returns the first offset that was written again; undefined where none was
   */
  async findCut(key: LogKey, from: number): Promise<number | undefined> {
    const history = this.ledger.histories.of(key);
    const [end] = await this.#cluster.inquiry.ends([key]);
    let cut: number | undefined;
    const found: [number, number][] = [];
    await readStretches(
      this.#cluster.kafka.bootstrapServers,
      [{ ...key, from, to: end! }],
      (_, offset, value) => {
        const code = codeOfValue(value);
        if (cut === undefined && offset < history.end && history.at(offset) !== code) cut = offset;
        found.push([offset, code]);
      },
      READ_DEADLINE_MS,
    );
    // A log that is shorter than before and was not written again yet.
    if (cut === undefined && end! < history.end) cut = end!;
    if (cut === undefined) return undefined;
    history.cutAt(cut);
    for (const [offset, code] of found) if (offset >= cut) history.add(offset, code);
    return cut;
  }

  /** Compares one snapshot of the tables with the logs, and runs the proofs of `check`. */
  async compare(): Promise<Comparison> {
    const { sql } = this.#cluster;
    const tables = await readStoredTables(sql, this.#baseHour);
    await this.readLogs();
    const found = await this.ledger.contradictions(tables, () => readStoredEvents(sql));
    return {
      ...found,
      problems: [...found.problems, ...(await this.#check())],
      consumed: tables.partitions.reduce((sum, { consumed }) => sum + consumed, 0),
    };
  }

  /** Waits until everything in the logs is stored; the load must not run. @throws Error with the lag that is left */
  async drained(): Promise<void> {
    const partitions = await this.partitions();
    const ends = await this.#cluster.inquiry.ends(partitions);
    await eventually(
      "everything is stored",
      async () => {
        const rows = await this.#cluster.sql<{ topicId: string; partition: number; next: number }[]>`
          select topic_id as "topicId", partition, next_offset::float8 as next from pipeline_offsets
          where closed_at is null`;
        const behind = partitions.flatMap(({ topicId, topic, partition }, index) => {
          const row = rows.find((stored) => stored.topicId === topicId && stored.partition === partition);
          const end = ends[index]!;
          return end > 0 && (row?.next ?? 0) < end
            ? [`${topic} [${partition}] at ${row?.next} of ${end}`]
            : [];
        });
        if (behind.length > 0) throw new Error(behind.join(", "));
        return true;
      },
      { timeoutMs: DRAIN_DEADLINE_MS, everyMs: 100 },
    );
  }

  /** Reads every log again from its beginning: it must hold what was read before, and what was acknowledged. */
  async verifyLogs(): Promise<{ problems: string[]; acknowledged: number; cut: number }> {
    const problems: string[] = [];
    const partitions = await this.partitions();
    const beginnings = await this.#cluster.inquiry.beginnings(partitions);
    const stretches = partitions.map((key, index) => ({
      ...key,
      from: beginnings[index]!,
      to: this.ledger.histories.of(key).end,
    }));
    await readStretches(
      this.#cluster.kafka.bootstrapServers,
      stretches,
      (stretch, offset, value) => {
        const key = stretch as (typeof stretches)[number];
        if (this.ledger.histories.of(key).at(offset) !== codeOfValue(value) && problems.length < 10) {
          problems.push(`${key.topic} [${key.partition}] holds another record at ${offset} than before`);
        }
      },
      READ_DEADLINE_MS,
    );
    let [acknowledged, cut] = [0, 0];
    for (const { key, records } of this.#cluster.load.acknowledged) {
      const found = this.ledger.checkAcknowledged(key, records);
      problems.push(...found.problems);
      acknowledged += records.length;
      cut += found.cut;
    }
    return { problems, acknowledged, cut };
  }

  async #readLogs(): Promise<void> {
    const partitions = await this.partitions();
    const ends = await this.#cluster.inquiry.ends(partitions);
    const { histories } = this.ledger;
    const stretches = partitions.map((key, index) => ({
      ...key,
      from: histories.of(key).end,
      to: ends[index]!,
    }));
    await readStretches(
      this.#cluster.kafka.bootstrapServers,
      stretches,
      (stretch, offset, value) =>
        histories.of(stretch as (typeof stretches)[number]).add(offset, codeOfValue(value)),
      READ_DEADLINE_MS,
    );
  }

  /** The proofs of `check` that do not hold. */
  async #check(): Promise<string[]> {
    const session = await Session.open(this.#cluster.databaseConfig, {
      role: "check",
      consumerGroup: "chaos",
    });
    try {
      const { invariants } = await checkDatabase(session.sql);
      return invariants.filter(({ ok }) => !ok).map(({ name, detail }) => `check: ${name}: ${detail}`);
    } finally {
      await session.close();
    }
  }
}
