// Probes PostgreSQL: address, login, TLS, session, tables and rights, with the sentences of the consumer's start.
import type { Config, DatabaseConfig } from "../../shared/config/config.ts";
import { hasRetention } from "../../shared/config/consumer-config.ts";
import { unverifiedServer } from "../../shared/config/database-config.ts";
import { previewClaim } from "../../shared/store/database-owner.ts";
import { previewMigrations } from "../../shared/store/migrate.ts";
import { readMigrations } from "../../shared/store/migration-files.ts";
import { assertPruningRights, assertRights, CONSUMER_RIGHTS } from "../../shared/store/rights.ts";
import { Session, type SessionOptions } from "../../shared/store/session.ts";
import { assertOwnBackend } from "../../shared/store/pooler.ts";
import { explainUnavailable } from "../../shared/store/unavailable.ts";
import { plural } from "../../shared/text/format.ts";
import { probeAddresses } from "./address-probes.ts";
import { type Finding, ok, probe, skipped, warning } from "./finding.ts";

const AFTER_LOGIN = [
  "postgres_tls",
  "postgres_session",
  "postgres_tables",
  "postgres_rights",
  "postgres_group",
];
/** The producer's clock gives the events their time, and the database's clock judges it. */
const MAX_CLOCK_DIFFERENCE_MS = 60_000;

export async function probePostgres({ database, kafka, consumer }: Config): Promise<Finding[]> {
  const address = database.host.startsWith("/")
    ? ok("postgres_address", `the Unix socket in ${database.host}`)
    : await probeAddresses("postgres_address", [database], {
        where: "DB_HOST and DB_PORT",
        advice: "Start PostgreSQL, or correct the variables",
      });
  if (address.result === "failed") {
    return [address, ...skipped(["postgres_login", ...AFTER_LOGIN], "postgres_address")];
  }
  const options: SessionOptions = { role: "main", consumerGroup: kafka.consumerGroup };
  let session: Session | undefined;
  const login = await probe("postgres_login", async () => {
    try {
      session = await Session.open(database, options);
      await assertOwnBackend(session, database, options);
    } catch (error) {
      throw explainUnavailable(error, database);
    }
    const [{ version }] = await session.run(
      (sql) => sql<[{ version: string }]>`select current_setting('server_version') as version`,
    );
    return ok("postgres_login", `PostgreSQL ${version}, user ${database.user}, database ${database.name}`);
  });
  try {
    if (session === undefined || login.result === "failed") {
      return [address, login, ...skipped(AFTER_LOGIN, "postgres_login")];
    }
    return [
      address,
      login,
      ...(await probeSession(session, database, kafka.consumerGroup, hasRetention(consumer))),
    ];
  } finally {
    await session?.close();
  }
}

async function probeSession(
  session: Session,
  database: DatabaseConfig,
  group: string,
  isPruned: boolean,
): Promise<Finding[]> {
  const tls = await probe("postgres_tls", () => probeTls(session, database));
  const tables = await probe("postgres_tables", () => probeTables(session));
  const settled = [tls, probeSettings(session), tables];
  if (tables.result === "failed") return [...settled, ...skipped(AFTER_LOGIN.slice(3), "postgres_tables")];
  if (tables.detail.includes(NEW_DATABASE)) {
    return [...settled, ok("postgres_rights", NEW_DATABASE), ok("postgres_group", NEW_DATABASE)];
  }
  return [
    ...settled,
    await probe("postgres_rights", async () => {
      await session.run(async (sql) => {
        await assertRights(sql, CONSUMER_RIGHTS);
        if (isPruned) await assertPruningRights(sql);
      });
      return ok("postgres_rights", "this user may read and write the tables");
    }),
    await probe("postgres_group", async () => {
      const { previousGroup } = await session.run((sql) => previewClaim(sql, group));
      return previousGroup === undefined
        ? ok("postgres_group", `the consumer group ${group}`)
        : warning("postgres_group", `a consumer takes the database over from the group ${previousGroup}`);
    }),
  ];
}

async function probeTls(session: Session, database: DatabaseConfig): Promise<Finding> {
  const [unverified] = unverifiedServer(database);
  if (unverified !== undefined) return warning("postgres_tls", unverified);
  const [found] = await session.run(
    (sql) => sql<{ ssl: boolean; version: string | null }[]>`
      select ssl, version from pg_stat_ssl where pid = pg_backend_pid()`,
  );
  return ok(
    "postgres_tls",
    found?.ssl === true ? `${found.version}, DB_SSLMODE=${database.sslMode}` : "no TLS",
  );
}

/** A session that opened has its encoding and its settings: else it is refused with the name of what does not hold. */
function probeSettings(session: Session): Finding {
  const differenceMs = session.now() - Date.now();
  if (Math.abs(differenceMs) > MAX_CLOCK_DIFFERENCE_MS) {
    const seconds = Math.round(Math.abs(differenceMs) / 1000);
    const direction = differenceMs > 0 ? "ahead of" : "behind";
    const detail = `the clock of the database is ${seconds} s ${direction} the one of this machine`;
    return warning("postgres_session", detail);
  }
  return ok("postgres_session", "encoding UTF8; time zone, formats and time limits can be set");
}

const NEW_DATABASE = "the first start of the consumer creates the tables";

async function probeTables(session: Session): Promise<Finding> {
  const migrations = await readMigrations();
  const { applied: missing, newer } = await session.run((sql) => previewMigrations(sql, migrations));
  if (newer.length > 0) {
    const files = newer.join(", ");
    return warning(
      "postgres_tables",
      `of a newer version, which has applied ${files}; this version works with them`,
    );
  }
  if (missing.length === 0) return ok("postgres_tables", "up to date");
  const detail =
    missing.length === migrations.length
      ? NEW_DATABASE
      : `the next start of the consumer applies ${plural(missing.length, "file")} of sql/: ${missing.join(", ")}`;
  return ok("postgres_tables", detail);
}
