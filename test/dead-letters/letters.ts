// Makes databases with dead letters, and runs `bun run dead-letters` on them.
import { expect } from "bun:test";
import postgres from "postgres";
import { broken, check } from "../check/checked-database.ts";
import type { TestRecord } from "../pipeline/record.ts";
import { batchFrom, enter, openStore, pipelineDatabase } from "../store/pipeline-database.ts";
import { eventually } from "../support/eventually.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { Program } from "../support/process.ts";

/** A database in which partition 0, 1, … holds these values, committed as a consumer does. */
export async function letterDatabase(
  ...partitions: readonly (readonly TestRecord["value"][])[]
): Promise<TestDatabase> {
  const database = await pipelineDatabase();
  await using worker = await openStore(database);
  await enter(worker.session, partitions.length);
  for (const [partition, values] of partitions.entries()) {
    if (values.length > 0) await worker.store.commit(batchFrom(0, values, partition));
  }
  return database;
}

export interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts the program. A variable of `env` replaces the database's. */
export function start(
  { env }: Pick<TestDatabase, "env">,
  args: readonly string[],
  further: Readonly<Record<string, string>> = {},
): Program {
  return Program.start("workers/dead-letters.ts", { args, env: { ...env, ...further } });
}

/** Runs the program to its end. */
export async function run(
  database: Pick<TestDatabase, "env">,
  args: readonly string[],
  further: Readonly<Record<string, string>> = {},
): Promise<Run> {
  await using program = start(database, args, further);
  const code = await program.exit();
  return { code, stdout: program.stdout, stderr: program.stderr };
}

/** What is kept of the letters, in the order of their keys. */
export async function lettersOf({ sql }: TestDatabase) {
  return [
    ...(await sql<
      {
        partition: number;
        offset: string;
        value: Buffer | null;
        state: string;
        attempts: number;
        attempt_error: string | null;
        event_id: string | null;
        mended_value: Buffer | null;
        discard_reason: string | null;
        is_changed: boolean;
      }[]
    >`
      select partition, "offset", value, state, attempts, attempt_error, event_id, mended_value, discard_reason,
        changed_at is not null as is_changed
      from dead_letter_events order by topic, partition, "offset"`),
  ];
}

/** The state of each letter, in the order of their keys. */
export async function statesOf(database: TestDatabase): Promise<string[]> {
  return (await lettersOf(database)).map(({ state }) => state);
}

/** Asserts that all proofs of a check hold. */
export async function expectProofs(database: TestDatabase): Promise<void> {
  expect(broken(await check(database))).toEqual([]);
}

/** Holds replays in the middle of their transactions, with the locks of their partitions; it is open at first. */
export async function replayGate({ sql, address, name }: TestDatabase) {
  const { host, port, user, password } = address;
  await sql`create function pass_gate() returns trigger language plpgsql set lock_timeout = 0
    as 'begin perform pg_advisory_xact_lock_shared(7); return null; end'`;
  await sql`create trigger gate before update on dead_letter_events for each statement execute function pass_gate()`;
  const holder = postgres({ host, port, user, password, database: name, max: 1 });
  return {
    close: async () => void (await holder`select pg_advisory_lock(7)`),
    open: async () => void (await holder`select pg_advisory_unlock(7)`),
    reached: () =>
      eventually("a replay is held", async () => {
        const held = await sql`
          select from pg_locks l join pg_stat_activity a using (pid)
          where l.locktype = 'advisory' and not l.granted and a.application_name like 'event-pipeline main %'`;
        return held.length > 0;
      }),
    [Symbol.asyncDispose]: () => holder.end({ timeout: 0 }),
  };
}

/** A file with this content, deleted with its scope. */
export async function temporaryFile(name: string, content: string) {
  const path = `/tmp/${crypto.randomUUID()}-${name}`;
  await Bun.write(path, content);
  return { path, [Symbol.asyncDispose]: () => Bun.file(path).delete() };
}

/** A file for --edit that mends a letter whose user is missing. */
export const mendFile = () =>
  temporaryFile("mend.ts", `export default (value: object) => ({ ...value, user_id: "mended" });`);
