// Faults of the tables: locked, in a deadlock or a conflict, without room, altered.
import { rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import type { ChaosCluster } from "../cluster.ts";
import type { Fault, Injected } from "../fault.ts";
import { BY_BACKOFF, resyncs } from "../resync-evidence.ts";

const BY_LOCK = "lock_timeout 10 s";
const NO_SPACE = /53100|No space left/;

/** Holds a lock in a session of its own. */
async function holdLock(cluster: ChaosCluster, statement: string, holdMs: number): Promise<Injected> {
  const holder = cluster.connection("superuser");
  const hasBitten = resyncs(cluster, "blocked");
  try {
    // The one that finds a deadlock is its victim: the worker, because this session does not look.
    await holder.unsafe("set deadlock_timeout = '10min'");
    await holder.unsafe("begin");
    await holder.unsafe(statement);
  } catch (error) {
    await holder.end({ timeout: 1 });
    throw error;
  }
  return {
    holdMs,
    hasBitten,
    heal: async () => {
      await holder.unsafe("rollback");
      await holder.end({ timeout: 1 });
    },
  };
}

export const TABLE_FAULTS: readonly Fault[] = [
  {
    name: "postgres-locks-table",
    about: "another session locks raw_events for 60 s",
    parts: ["postgres"],
    ruledBy: BY_LOCK,
    seconds: 62,
    inject: ({ cluster }) => holdLock(cluster, "lock table raw_events in access exclusive mode", 60_000),
  },
  {
    name: "postgres-locks-rows",
    about: "another session locks the rows of the hours for 15 s",
    parts: ["postgres"],
    ruledBy: BY_LOCK,
    seconds: 17,
    inject: ({ cluster }) => holdLock(cluster, "select from hourly_aggregations for update", 15_000),
  },
  {
    name: "postgres-deadlock",
    about: "another session takes the same rows in another order, and the worker's transaction is the victim",
    parts: ["postgres"],
    ruledBy: "deadlock_timeout 1 s",
    seconds: 10,
    inject: async ({ cluster }) => {
      const holder = cluster.connection("superuser");
      const hasBitten = resyncs(cluster, "transient");
      // The one that finds the deadlock is its victim: the worker, because this session does not look.
      await holder.unsafe("set deadlock_timeout = '10min'");
      const end = new AbortController();
      const provoke = async () => {
        while (!end.signal.aborted) {
          await holder.unsafe("begin").catch(() => undefined);
          await holder.unsafe("select from hourly_aggregations for update").catch(() => undefined);
          await Bun.sleep(200);
          await holder.unsafe("select from pipeline_offsets for update").catch(() => undefined);
          await holder.unsafe("rollback").catch(() => undefined);
          await Bun.sleep(100);
        }
      };
      const provoking = provoke();
      return {
        holdMs: 3000,
        hasBitten,
        heal: async () => {
          end.abort();
          await provoking;
          await holder.end({ timeout: 1 });
        },
      };
    },
  },
  {
    name: "postgres-serialization",
    about: "transactions fail with serialization_failure for some seconds",
    parts: ["postgres"],
    ruledBy: BY_BACKOFF,
    seconds: 6,
    inject: async ({ cluster }) => {
      const hasBitten = resyncs(cluster, "transient");
      await cluster.sql.unsafe(`
        create or replace function chaos_conflict() returns trigger language plpgsql as
          $$ begin raise exception 'could not serialize access' using errcode = '40001'; end $$;
        create or replace trigger chaos_conflict after update on pipeline_offsets
          for each statement execute function chaos_conflict()`);
      return {
        holdMs: 3000,
        hasBitten,
        heal: async () => {
          await cluster.sql.unsafe("drop trigger if exists chaos_conflict on pipeline_offsets");
        },
      };
    },
  },
  {
    name: "postgres-disk-full",
    about: "the file system of raw_events is full, and has room again",
    parts: ["postgres"],
    ruledBy: BY_BACKOFF,
    seconds: 12,
    whyNot: ({ smallDisk }) =>
      smallDisk === undefined ? "this user may not mount a small file system" : undefined,
    inject: async ({ cluster, choices }) => {
      const hasBitten = resyncs(cluster, "connection");
      const before = cluster.fleet.timesPrinted(NO_SPACE);
      const filler = join(cluster.smallDisk!, "..", "filler");
      await fill(cluster.smallDisk!, filler);
      return {
        holdMs: 3000 + choices.below(4000),
        hasBitten: async () => {
          const evidence = await hasBitten();
          return evidence && cluster.fleet.timesPrinted(NO_SPACE) > before
            ? `no space left; ${evidence}`
            : undefined;
        },
        heal: () => rm(filler),
      };
    },
  },
  {
    name: "postgres-table-altered",
    about: "a column that no program fills is added to raw_events, and dropped",
    parts: ["postgres"],
    ruledBy: BY_BACKOFF,
    seconds: 8,
    inject: async ({ cluster, choices }) => {
      const hasBitten = resyncs(cluster, "schema");
      await cluster.sql.unsafe(`
        alter table raw_events add column if not exists surprise text;
        alter table raw_events drop constraint if exists chaos_surprise;
        alter table raw_events add constraint chaos_surprise check (surprise is not null) not valid`);
      return {
        holdMs: 2000 + choices.below(4000),
        hasBitten,
        heal: async () => {
          await cluster.sql.unsafe("alter table raw_events drop column if exists surprise");
        },
      };
    },
  },
];

/** Takes all the room that is left. */
async function fill(directory: string, filler: string): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  const writing = Bun.spawn(
    ["dd", "if=/dev/zero", `of=${filler}`, "bs=1M", `count=${Math.ceil((bavail * bsize) / 2 ** 20) + 8}`],
    {
      stdio: ["ignore", "ignore", "ignore"],
    },
  );
  // It ends with an error: that is the purpose.
  await writing.exited;
}
