// Faults of the PostgreSQL server and its sessions: crashed, restarted, frozen, read-only, ended, refused.
import type postgres from "postgres";
import { eventually } from "../../../support/eventually.ts";
import { MAX_CONNECTIONS } from "../cluster.ts";
import { BY_BACKOFF, resyncs } from "../resync-evidence.ts";
import type { Fault, FaultContext, Injected } from "../fault.ts";

const BY_TRANSACTION = "deadline of a transaction, 30 s";

/** What the server says when no connection is left. */
const REFUSED = /53300|too many clients|slots are reserved/;
const READ_ONLY = /25006|read-only/;
const WORKERS = "application_name like 'event-pipeline %' and datname = current_database()";

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
      await cluster.proxy.connected();
      const pid = choices.one(
        await eventually("the consumers have sessions", async () => {
          const pids = await backends(cluster.sql);
          return pids.length > 0 && pids;
        }),
      );
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
      const end = new AbortController();
      const taking = (async () => {
        while (!end.signal.aborted) {
          await takeAll().catch(() => undefined);
          await Bun.sleep(400);
        }
      })();
      return {
        holdMs: 4000 + choices.below(4000),
        hasBitten: async () => {
          const evidence = await hasBitten();
          return evidence && cluster.fleet.timesPrinted(REFUSED) > before
            ? `too many connections; ${evidence}`
            : undefined;
        },
        heal: async () => {
          end.abort();
          await taking;
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
    name: "postgres-password-changed",
    about: "the password is changed and all sessions end; its file follows some seconds later",
    // A program that starts meanwhile would rightly end.
    parts: ["postgres", "consumers"],
    ruledBy: BY_BACKOFF,
    seconds: 8,
    inject: async ({ cluster, choices }) => {
      await cluster.fleet.allOwnPartitions();
      const hasBitten = resyncs(cluster, "access");
      cluster.rolePassword = `password-${choices.below(1_000_000)}`;
      await cluster.sql.unsafe(`alter role ${cluster.role} password '${cluster.rolePassword}'`);
      await cluster.sql.unsafe(`select pg_terminate_backend(pid) from pg_stat_activity where ${WORKERS}`);
      return {
        holdMs: 2000 + choices.below(4000),
        hasBitten,
        heal: async () => {
          await Bun.write(cluster.passwordFile, cluster.rolePassword);
        },
      };
    },
  },
];
