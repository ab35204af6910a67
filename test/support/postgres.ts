// Creates databases for tests, on the server that all tests share or on one of the test's own.
import { basename } from "node:path";
import postgres from "postgres";
import type { DatabaseConfig } from "../../shared/config/config.ts";
import type { EmbeddedPostgres, EmbeddedPostgresOptions } from "../../shared/store/embedded-postgres.ts";
import { type Route, startServer } from "./postgres-variant.ts";
import { sharedServer } from "./shared-servers.ts";

/** Where a server listens, and its superuser. */
export interface PostgresAddress {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
}

export interface TestDatabaseOptions {
  /** Prepares the state that the test starts from: once per server and `name`, then the database is copied. */
  prepared?: { name: string; prepare: (database: TestDatabase) => Promise<void> };
}

/** The databases of tests that have ended are kept for debugging; beyond this many the oldest are dropped. */
const FINISHED_DATABASES_KEPT = 40;

/** One database of one test. Disposing ends the connections; the database stays for a while. */
export class TestDatabase {
  readonly name: string;
  readonly address: PostgresAddress;
  /** A small pool of connections as superuser; it connects when it is first used, and again after an outage. */
  readonly sql: postgres.Sql;
  readonly #route: Route;
  readonly #finished: (name: string) => Promise<void>;

  constructor(
    address: PostgresAddress,
    route: Route,
    name: string,
    finished: (name: string) => Promise<void>,
  ) {
    this.address = address;
    this.#route = route;
    this.name = name;
    this.sql = connect(address, name);
    this.#finished = finished;
  }

  /** What `Config.database` holds. */
  get config(): DatabaseConfig {
    const { host, user, password } = this.address;
    const { port, sslRootCert } = this.#route;
    return {
      host,
      port,
      user,
      password,
      name: this.name,
      ...(sslRootCert === undefined ? { sslMode: "disable" } : { sslMode: "verify-full", sslRootCert }),
      minConnections: 2,
      maxConnections: 10,
    };
  }

  /** The environment that leads a program to this database. */
  get env(): Record<string, string> {
    const { host, port, user, password, sslMode, sslRootCert } = this.config;
    return {
      DB_HOST: host,
      DB_PORT: String(port),
      DB_NAME: this.name,
      DB_USER: user,
      DB_PASSWORD: password,
      DB_SSLMODE: sslMode,
      ...(sslRootCert !== undefined && { DB_SSLROOTCERT: sslRootCert }),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sql.end({ timeout: 1 });
    await this.#finished(this.name);
  }
}

/** Creates databases on a running server. */
export class TestDatabases {
  readonly address: PostgresAddress;
  readonly #route: Route;
  #made = 0;
  readonly #finished: string[] = [];
  readonly #prepared = new Map<string, Promise<string>>();

  /** @param route how programs and sessions reach the server */
  constructor(address: PostgresAddress, route: Route) {
    this.address = address;
    this.#route = route;
  }

  /** A fresh database, UTF8 and C locale: empty, or a copy of a prepared one. */
  async database({ prepared }: TestDatabaseOptions = {}): Promise<TestDatabase> {
    if (prepared === undefined) return this.#create();
    const { name, prepare } = prepared;
    let template = this.#prepared.get(name);
    if (template === undefined) {
      template = this.#prepareTemplate(prepare);
      this.#prepared.set(name, template);
    }
    return this.#create(await template);
  }

  /** Runs one statement in the maintenance database, which every server has. */
  async administer(statement: string): Promise<void> {
    const sql = connect(this.address, "postgres");
    try {
      await sql.unsafe(statement);
    } finally {
      await sql.end({ timeout: 1 });
    }
  }

  async #create(template = "template0"): Promise<TestDatabase> {
    const file = basename(Bun.main).replace(/\..*/, "").replaceAll(/\W/g, "_").toLowerCase();
    const name = `${file.slice(0, 40)}_${process.pid}_${++this.#made}`;
    await this.administer(`CREATE DATABASE "${name}" TEMPLATE "${template}"`);
    return new TestDatabase(this.address, this.#route, name, (finished) => this.#drop(finished));
  }

  async #prepareTemplate(prepare: (database: TestDatabase) => Promise<void>): Promise<string> {
    const database = await this.#create();
    try {
      await prepare(database);
    } finally {
      await database.sql.end({ timeout: 1 });
    }
    // A pooler keeps connections to it, and there may be no connection to what is copied.
    await this.administer(
      `select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = '${database.name}'`,
    );
    return database.name;
  }

  async #drop(finished: string): Promise<void> {
    this.#finished.push(finished);
    if (this.#finished.length <= FINISHED_DATABASES_KEPT) return;
    await this.administer(`DROP DATABASE IF EXISTS "${this.#finished.shift()}" WITH (FORCE)`);
  }
}

/** A server that belongs to one test, which may stop, crash, freeze and start it again. */
export type PostgresServer = EmbeddedPostgres & Pick<TestDatabases, "database">;

export async function startPostgres(options: EmbeddedPostgresOptions = {}): Promise<PostgresServer> {
  const { server, route } = await startServer(options);
  const databases = new TestDatabases(server, route);
  return Object.assign(server, {
    database: (database?: TestDatabaseOptions) => databases.database(database),
  });
}

let shared: Promise<TestDatabases> | undefined;

/** Databases on the server that all tests of a run share: it may not be stopped. */
export function sharedPostgres(): Promise<TestDatabases> {
  shared ??= sharedServer("postgres").then(({ address, route }) => new TestDatabases(address, route));
  return shared;
}

function connect(address: PostgresAddress, database: string): postgres.Sql {
  const { host, port, user, password } = address;
  return postgres({
    host,
    port,
    username: user,
    password,
    database,
    max: 3,
    connection: { application_name: "test" },
    onnotice() {},
  });
}
