// Creates the roles of the stack on a real server, as the image of PostgreSQL does, and tries what they may do.
import { describe, expect } from "bun:test";
import { join } from "node:path";
import postgres from "postgres";
import { loadConfig } from "../../shared/config/config.ts";
import { migrateDatabase } from "../store/pipeline-database.ts";
import { type PostgresServer, startPostgres } from "../support/postgres.ts";
import { requiring } from "../support/requirements.ts";
import { ROOT } from "./stack.ts";

const ROLES = join(ROOT, "monitoring/postgres/roles.sql");
const PASSWORDS = { DB_PASSWORD: 'owner\'s \\ "secret"', GRAFANA_DB_PASSWORD: "reader's" };
const { name } = loadConfig({}, "consumer").database;

const psqlTest = requiring(
  "psql, which runs the image's files",
  Bun.which("psql") === null ? "there is no `psql` on the PATH (Debian: postgresql-client)" : undefined,
);

async function createRoles({ host, port, user, password }: PostgresServer): Promise<void> {
  const args = ["-v", "ON_ERROR_STOP=1", "--no-psqlrc", "--no-password", "-d", name, "-f", ROLES];
  const child = Bun.spawn(["psql", ...args], {
    env: {
      ...PASSWORDS,
      PATH: process.env["PATH"],
      PGHOST: host,
      PGPORT: String(port),
      PGUSER: user,
      PGPASSWORD: password,
    },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const errors = await child.stderr.text();
  expect([await child.exited, errors]).toEqual([0, ""]);
}

/** The database's code for what was refused; "allowed" if nothing was. */
async function outcome(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => "allowed",
    (error: unknown) => (error as { code: string }).code,
  );
}

describe("the roles of the stack", () => {
  psqlTest(
    "are an owner of the tables and a reader, neither of them superuser, and the superuser has no login",
    async () => {
      await using server = await startPostgres();
      const { host, port, user, password } = server;
      const open = (role: string, secret: string, database = name) =>
        postgres({ host, port, user: role, password: secret, database, max: 1, onnotice: () => undefined });
      await using maintenance = disposable(open(user, password, "postgres"));
      await maintenance.sql.unsafe(`create database ${name}`);
      await createRoles(server);

      const config = { ...loadConfig(PASSWORDS, "consumer").database, host, port };
      await migrateDatabase({ config });
      await using owner = disposable(open(config.user, PASSWORDS.DB_PASSWORD));
      await owner.sql`insert into raw_events (event_id, user_id, event_type, event_data, timestamp, processed_at)
        values ('e', 'u', 'click', '{}', now(), now())`;
      await using grafana = disposable(open("grafana", PASSWORDS.GRAFANA_DB_PASSWORD));
      expect(await grafana.sql`select event_id from raw_events`).toMatchObject([{ event_id: "e" }]);

      const READ_ONLY = "25006";
      const NO_RIGHT = "42501";
      expect(await outcome(grafana.sql`delete from raw_events`)).toBe(READ_ONLY);
      await grafana.sql`set default_transaction_read_only = off`;
      expect(await outcome(grafana.sql`delete from raw_events`)).toBe(NO_RIGHT);
      expect(await outcome(grafana.sql`create table t ()`)).toBe(NO_RIGHT);
      for (const { sql } of [owner, grafana]) {
        expect(await outcome(sql`create temporary table t as select 1`)).toBe("allowed");
        expect(await outcome(sql`copy t from program 'true'`)).toBe(NO_RIGHT);
        expect(await outcome(sql`select pg_read_file('/etc/passwd')`)).toBe(NO_RIGHT);
        expect(await outcome(sql`create role other superuser`)).toBe(NO_RIGHT);
        expect(await outcome(sql`create database other`)).toBe(NO_RIGHT);
      }
      await using superuser = disposable(open(user, password));
      expect(await outcome(superuser.sql`select 1`)).toBe("28P01");
    },
    60_000,
  );
});

function disposable(sql: postgres.Sql) {
  return { sql, [Symbol.asyncDispose]: () => sql.end({ timeout: 1 }) };
}
