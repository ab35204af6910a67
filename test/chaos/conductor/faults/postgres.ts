// Faults of the PostgreSQL server: crashed, restarted, frozen, read-only, full, its sessions ended.
import { rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import type postgres from "postgres";
import { type ChaosCluster, MAX_CONNECTIONS } from "../cluster.ts";
import type { Fault, FaultContext, Injected } from "../fault.ts";

const BY_BACKOFF = "retry of the database, 5 s at most";
const BY_TRANSACTION = "deadline of a transaction, 30 s";
const BY_LOCK = "lock_timeout 10 s";

/** What the server says when no connection is left. */
const REFUSED = /53300|too many clients|slots are reserved/;
const READ_ONLY = /25006|read-only/;
const NO_SPACE = /53100|No space left/;
const WORKERS = "application_name like 'event-pipeline %' and datname = current_database()";

/** Resyncs of the consumers that a fault has caused, as evidence. */
function resyncs({ fleet }: ChaosCluster, ...causes: readonly string[]) {
  const total = () => causes.reduce((sum, cause) => sum + fleet.total("resyncs_total", { cause }), 0);
  const before = total();
  return async (): Promise<string | undefined> => {
    const more = total() - before;
    return more > 0 ? `${more} resyncs of the consumers (${causes.join(", ")})` : undefined;
  };
}

async function stopServer({ cluster, choices }: FaultContext, mode: "fast" | "immediate"): Promise<Injected> {
  const hasBitten = resyncs(cluster, "connection");
  const { pid } = cluster.server;
  await cluster.server.stop(mode);
  return {
    holdMs: choices.below(6000),
    hasBitten: async () => {
      const evidence = await hasBitten();
      return evidence && `postmaster ${pid} is gone; ${evidence}`;
    },
    heal: () => cluster.server.start(),
  };
}

/** Sessions of the consumers. */
async function backends(sql: postgres.Sql): Promise<number[]> {
  const rows = await sql.unsafe<{ pid: number }[]>(`select pid from pg_stat_activity where ${WORKERS}`);
  return rows.map(({ pid }) => pid);
}

/** Holds a lock in a session of its own. */
async function holdLock(cluster: ChaosCluster, statement: string, holdMs: number): Promise<Injected> {
  const holder = cluster.connection("superuser");
  const hasBitten = resyncs(cluster, "blocked");
  await holder.unsafe("begin");
  await holder.unsafe(statement);
  return {
    holdMs,
    hasBitten,
    heal: async () => {
      await holder.unsafe("rollback");
      await holder.end({ timeout: 1 });
    },
  };
}

export const POSTGRES_FAULTS: readonly Fault[] = [
  {
    name: "postgres-immediate",
    about: "PostgreSQL crashes (stop immediate), and comes back",
    parts: ["postgres"],
    ruledBy: BY_BACKOFF,
    seconds: 8,
    inject: (context) => stopServer(context, "immediate"),
  },
  {
    name: "postgres-fast",
    about: "PostgreSQL stops in order (stop fast), and comes back",
    parts: ["postgres"],
    ruledBy: BY_BACKOFF,
    seconds: 8,
    inject: (context) => stopServer(context, "fast"),
  },
  {
    name: "postgres-restart",
    about: "PostgreSQL restarts at once",
    parts: ["postgres"],
    ruledBy: BY_BACKOFF,
    seconds: 5,
    inject: async ({ cluster }) => {
      const hasBitten = resyncs(cluster, "connection");
      await cluster.server.stop("fast");
      await cluster.server.start();
      return { holdMs: 0, hasBitten, heal: async () => {} };
    },
  },
  {
    name: "postgres-backend-killed",
    about: "a backend is killed (SIGKILL): the server ends all sessions and recovers",
    parts: ["postgres"],
    ruledBy: BY_BACKOFF,
    seconds: 5,
    inject: async ({ cluster, choices }) => {
      const hasBitten = resyncs(cluster, "connection");
      const pid = choices.one(await backends(cluster.sql));
      process.kill(pid, "SIGKILL");
      return {
        holdMs: 0,
        hasBitten: async () => {
          const evidence = await hasBitten();
          return evidence && `backend ${pid} was killed; ${evidence}`;
        },
        heal: async () => {},
      };
    },
  },
  {
    name: "postgres-frozen",
    about: "PostgreSQL is stopped (SIGSTOP) for 60 s, and continued",
    parts: ["postgres"],
    ruledBy: BY_TRANSACTION,
    seconds: 62,
    inject: async ({ cluster }) => {
      const hasBitten = resyncs(cluster, "connection");
      await cluster.server.signal("STOP");
      return { holdMs: 60_000, hasBitten, heal: () => cluster.server.signal("CONT") };
    },
  },
  {
    name: "postgres-read-only",
    about: "the server becomes read-only without closing connections, and writable again",
    parts: ["postgres"],
    ruledBy: BY_BACKOFF,
    seconds: 10,
    inject: async ({ cluster, choices }) => {
      const before = cluster.fleet.timesPrinted(READ_ONLY);
      const hasBitten = resyncs(cluster, "connection");
      const set = async (value: "on" | "off") => {
        await cluster.sql.unsafe(`alter system set default_transaction_read_only = ${value}`);
        await cluster.sql`select pg_reload_conf()`;
      };
      await set("on");
      return {
        holdMs: 4000 + choices.below(5000),
        hasBitten: async () => {
          const evidence = await hasBitten();
          return evidence && cluster.fleet.timesPrinted(READ_ONLY) > before
            ? `read-only; ${evidence}`
            : undefined;
        },
        heal: () => set("off"),
      };
    },
  },
  {
    name: "postgres-connections-exhausted",
    about: "others take all connections while the consumers' own are ended",
    parts: ["postgres"],
    ruledBy: BY_BACKOFF,
    seconds: 10,
    inject: async ({ cluster, choices }) => {
      const before = cluster.fleet.timesPrinted(REFUSED);
      const hogs = Array.from({ length: MAX_CONNECTIONS }, () => cluster.connection("role"));
      const hasBitten = resyncs(cluster, "connection");
      // A place that becomes free is taken by the one that comes first, so both are repeated.
      const takeAll = async () => {
        await cluster.sql.unsafe(`select pg_terminate_backend(pid) from pg_stat_activity where ${WORKERS}`);
        await Promise.all(hogs.map((hog) => hog`select 1`.catch(() => undefined)));
      };
      const timer = setInterval(() => void takeAll().catch(() => undefined), 400);
      return {
        holdMs: 4000 + choices.below(4000),
        hasBitten: async () => {
          const evidence = await hasBitten();
          return evidence && cluster.fleet.timesPrinted(REFUSED) > before
            ? `too many connections; ${evidence}`
            : undefined;
        },
        heal: async () => {
          clearInterval(timer);
          await Promise.all(hogs.map((hog) => hog.end({ timeout: 1 })));
        },
      };
    },
  },
  {
    name: "postgres-backends-terminated",
    about: "sessions of the consumers are ended at random for some seconds",
    parts: ["postgres"],
    ruledBy: BY_BACKOFF,
    seconds: 8,
    inject: async ({ cluster, choices }) => {
      const hasBitten = resyncs(cluster, "connection");
      let ended = 0;
      const terminate = async () => {
        const pids = await backends(cluster.sql);
        if (pids.length === 0) return;
        await cluster.sql`select pg_terminate_backend(${choices.one(pids)})`;
        ended++;
      };
      const timer = setInterval(() => void terminate().catch(() => undefined), 300);
      return {
        holdMs: 5000,
        hasBitten: async () => {
          const evidence = await hasBitten();
          return evidence && `${ended} sessions ended; ${evidence}`;
        },
        heal: async () => clearInterval(timer),
      };
    },
  },
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
          await cluster.sql.unsafe("drop trigger chaos_conflict on pipeline_offsets");
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
    about: "a column that nobody fills is added to raw_events, and dropped",
    parts: ["postgres"],
    ruledBy: BY_BACKOFF,
    seconds: 8,
    inject: async ({ cluster, choices }) => {
      const hasBitten = resyncs(cluster, "schema");
      const forbidFailedStarts = cluster.fleet.allowFailedStarts();
      await cluster.sql.unsafe(`
        alter table raw_events add column surprise text;
        alter table raw_events add constraint chaos_surprise check (surprise is not null) not valid`);
      return {
        holdMs: 2000 + choices.below(4000),
        hasBitten,
        heal: async () => {
          await cluster.sql.unsafe("alter table raw_events drop column surprise");
          forbidFailedStarts();
        },
      };
    },
  },
  {
    name: "postgres-password-changed",
    about: "the password is changed and all sessions end; its file follows some seconds later",
    parts: ["postgres"],
    ruledBy: BY_BACKOFF,
    seconds: 8,
    inject: async ({ cluster, choices }) => {
      const hasBitten = resyncs(cluster, "access");
      const forbidFailedStarts = cluster.fleet.allowFailedStarts();
      cluster.rolePassword = `password-${choices.below(1_000_000)}`;
      await cluster.sql.unsafe(`alter role ${cluster.role} password '${cluster.rolePassword}'`);
      await cluster.sql.unsafe(`select pg_terminate_backend(pid) from pg_stat_activity where ${WORKERS}`);
      return {
        holdMs: 2000 + choices.below(4000),
        hasBitten,
        heal: async () => {
          await Bun.write(cluster.passwordFile, cluster.rolePassword);
          forbidFailedStarts();
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
