// Says what a session needs of its server, and finds what does not hold.

import { SessionRefused } from "./sqlstate.ts";

/** The program and part that a connection belongs to; application_name shows it. */
export type SessionRole = "worker" | "main" | "check" | "console";

export const APPLICATION_PREFIX = "event-pipeline";
const MAX_APPLICATION_NAME = 63;

/**
 * application_name of a session: role, then consumer group. PostgreSQL cuts it at 63 bytes, so a long group
 * is replaced by its beginning and a digest.
 */
export function applicationName(role: SessionRole, consumerGroup: string): string {
  const name = `${APPLICATION_PREFIX} ${role} ${consumerGroup}`;
  if (Buffer.byteLength(name) <= MAX_APPLICATION_NAME) return name;
  const digest = new Bun.CryptoHasher("sha256").update(consumerGroup).digest("hex").slice(0, 12);
  return `${Buffer.from(name)
    .subarray(0, 40)
    .toString("latin1")
    .replace(/[^ -~]/g, "?")}~${digest}`;
}

type Settings = Readonly<Record<string, string>>;

/** What a role or a database may have set otherwise. Values are as `show` prints them, to be compared. */
const NEEDED_BY_ALL: Settings = {
  client_encoding: "UTF8",
  standard_conforming_strings: "on",
  array_nulls: "on",
  TimeZone: "UTC",
  DateStyle: "ISO, MDY",
  bytea_output: "hex",
  extra_float_digits: "1",
  default_transaction_isolation: "read committed",
  // A policy that hides rows is an error then, and not a smaller count.
  row_security: "off",
  // A worker without records, and one that waits for Kafka, keep their sessions.
  idle_session_timeout: "0",
};

/** How long a session waits. A peer that stands still must not stop the others. */
const WAIT_LIMITS: Settings = {
  idle_in_transaction_session_timeout: "10s",
  lock_timeout: "10s",
  statement_timeout: "1min",
};

const NEEDED_BY_ROLE: Readonly<Record<SessionRole, Settings>> = {
  // The workers' offsets and effects commit together, and Kafka keeps the records: a crash of the server loses the
  // last transactions whole, and they are repeated.
  worker: { ...WAIT_LIMITS, synchronous_commit: "off" },
  main: WAIT_LIMITS,
  // One statement of a check may take minutes. A check that was suspended must not hold its snapshot.
  check: { ...WAIT_LIMITS, statement_timeout: "0", idle_in_transaction_session_timeout: "30s" },
  // The console only reads, and gives up early rather than hold up a worker.
  console: {
    ...WAIT_LIMITS,
    lock_timeout: "1s",
    statement_timeout: "2s",
    default_transaction_read_only: "on",
  },
};

/**
 * Settings that help where they exist: servers before version 17 have no transaction_timeout, and the TCP ones read as
 * 0 on a Unix socket. With them a client whose machine is gone frees its locks within about 25 s.
 */
const WANTED: Settings = {
  transaction_timeout: "0",
  tcp_keepalives_idle: "10",
  tcp_keepalives_interval: "5",
  tcp_keepalives_count: "3",
  // For a client that is gone, or suspended, before it has taken an answer: keepalives do not count then.
  tcp_user_timeout: "25s",
};

/** The roles that write; the others can work on a standby. */
const WRITERS: ReadonlySet<SessionRole> = new Set(["worker", "main"]);

/** What a server answers to the greeting. */
export interface Greeting {
  readonly pid: number;
  /** The database's clock, ms since 1970. */
  readonly now_ms: number;
  readonly server_encoding: string;
  readonly in_recovery: boolean;
  readonly transaction_read_only: string;
  /** The settings by name, as they are now. */
  readonly [setting: string]: unknown;
}

function neededBy(role: SessionRole, consumerGroup: string): Settings {
  return {
    ...NEEDED_BY_ALL,
    ...NEEDED_BY_ROLE[role],
    application_name: applicationName(role, consumerGroup),
  };
}

/**
 * The first statement of a session. It sets what the session needs and returns it as it is then, as a `Greeting`. Not
 * by start-up parameters: poolers and some hosts refuse or drop them.
 */
export function greetingStatement(role: SessionRole, consumerGroup: string): string {
  const columns = [
    ...Object.entries(neededBy(role, consumerGroup)).map(
      ([name, value]) => `${setting(name, value)} as "${name}"`,
    ),
    ...Object.entries(WANTED).map(
      ([name, value]) =>
        `case when current_setting('${name}', true) is not null then ${setting(name, value)} end`,
    ),
    "pg_backend_pid() as pid",
    "extract(epoch from clock_timestamp())::float8 * 1000 as now_ms",
    "current_setting('server_encoding') as server_encoding",
    "pg_is_in_recovery() as in_recovery",
    "current_setting('transaction_read_only') as transaction_read_only",
  ];
  return `select ${columns.join(", ")}`;
}

/** @throws SessionRefused where the server is not what the role needs */
export function assertFit(greeting: Greeting, role: SessionRole, consumerGroup: string): void {
  const { server_encoding, in_recovery, transaction_read_only } = greeting;
  if (server_encoding !== "UTF8") {
    throw new SessionRefused(
      "access",
      `the database has the encoding ${server_encoding}, and the pipeline needs UTF8: create it with "encoding 'UTF8'"`,
    );
  }
  for (const [name, needed] of Object.entries(neededBy(role, consumerGroup))) {
    if (greeting[name] === needed) continue;
    throw new SessionRefused(
      "access",
      `the setting ${name} stays "${String(greeting[name])}" and must be "${needed}": connect without the pooler or proxy that keeps it`,
    );
  }
  if (!WRITERS.has(role)) return;
  if (in_recovery)
    throw new SessionRefused("connection", "the server is a standby; waiting for one that can write");
  if (transaction_read_only === "on") {
    throw new SessionRefused(
      "connection",
      "the database is read-only (default_transaction_read_only is on); waiting until it can be written",
    );
  }
}

/** An escape string reads the same whatever standard_conforming_strings is. */
function setting(name: string, value: string): string {
  return `set_config('${name}', E'${value.replaceAll("\\", "\\\\").replaceAll("'", "''")}', false)`;
}
