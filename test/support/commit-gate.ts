// Holds the consumers' transactions at their end, so that a test can place a fault while one is in flight.
import postgres from "postgres";
import type { TestPipeline } from "./pipeline.ts";

/** Where a transaction is held: in its last statement (a killed client rolls it back), or in its COMMIT. */
export type GatePlace = "last statement" | "commit";

/** An advisory lock: transactions share it, a closed gate holds it alone. */
const LOCK = 7;

/** The gate of one pipeline's database. It is open at first; disposing opens it. */
export class CommitGate implements AsyncDisposable {
  readonly #pipeline: TestPipeline;
  /** Holds the lock while the gate is closed. Ending the connection releases it. */
  #holder: postgres.Sql | undefined;

  private constructor(pipeline: TestPipeline) {
    this.#pipeline = pipeline;
  }

  /** Creates the tables if they are missing, and the gate. */
  static async install(pipeline: TestPipeline, place: GatePlace): Promise<CommitGate> {
    const { sql } = pipeline.database;
    await pipeline.migrated();
    // Without a lock timeout: the sessions' own would end the wait after 10 s.
    await sql.unsafe(`create function pass_gate() returns trigger language plpgsql set lock_timeout = 0
      as 'begin perform pg_advisory_xact_lock_shared(${LOCK}); return null; end'`);
    if (place === "last statement") {
      await sql`create trigger gate after update on pipeline_offsets
        for each statement execute function pass_gate()`;
    } else {
      await sql`create constraint trigger gate after update on pipeline_offsets
        deferrable initially deferred for each row execute function pass_gate()`;
    }
    return new CommitGate(pipeline);
  }

  /** Waits for the transactions that have passed the gate, and holds those that come. */
  async close(): Promise<void> {
    const { name, address } = this.#pipeline.database;
    const { host, port, user, password } = address;
    this.#holder = postgres({ host, port, user, password, database: name, max: 1 });
    await this.#holder`select pg_advisory_lock(${LOCK})`;
  }

  /**
   * Waits until a worker's transaction is held.
   * @returns the process id of its backend
   */
  async reached(): Promise<number> {
    let pid = 0;
    await this.#pipeline.until("a transaction is held at the gate", async () => {
      const [row] = await this.#pipeline.database.sql`
        select a.pid from pg_locks l join pg_stat_activity a using (pid)
        where l.locktype = 'advisory' and not l.granted and a.datname = current_database()
          and a.application_name like 'event-pipeline worker %'`;
      pid = Number(row?.["pid"] ?? 0);
      return pid > 0;
    });
    return pid;
  }

  /** Lets the held transactions continue. A server that crashed has opened the gate already. */
  async open(): Promise<void> {
    const holder = this.#holder;
    this.#holder = undefined;
    await holder?.end({ timeout: 0 });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.open();
  }
}
