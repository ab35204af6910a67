// Starts the embedded broker with a topic and the embedded PostgreSQL with an empty database.
import { join } from "node:path";
import { EmbeddedBroker } from "../../shared/kafka/embedded.ts";
import { prepareNativeLibrary } from "../../shared/kafka/native-library.ts";
import type { DatabaseConfig } from "../../shared/config/config.ts";
import type { Resources } from "../../shared/runtime/resources.ts";
import { EmbeddedPostgres } from "../../shared/store/embedded-postgres.ts";
import { Session } from "../../shared/store/session.ts";
import { plural } from "../../shared/text/format.ts";
import type { StartupLog } from "./startup-log.ts";

export interface Servers {
  readonly broker: EmbeddedBroker;
  /** The demo's own database, as the role that owns it. */
  readonly database: DatabaseConfig;
  /** The logs lie beside PostgreSQL's data and are removed with it. */
  readonly consumerLog: string;
  readonly producerLog: string;
}

/** The group of the demo's consumer and of its sessions with the database. */
export const CONSUMER_GROUP = "demo";
export const TOPIC = { name: "user-events", partitions: 6 } as const;
const DATABASE = "demo";
const ROLE = "demo";
const POSTGRES_DEADLINE_MS = 15_000;
const BROKER_DEADLINE_MS = 5000;

/** Starts both servers at the same time. `resources` releases each, also if the other one fails. */
export async function startServers(resources: Resources, startup: StartupLog): Promise<Servers> {
  const [broker, { database, directory }] = await Promise.all([
    startBroker(resources, startup),
    startPostgres(resources, startup),
  ]);
  return {
    broker,
    database,
    consumerLog: join(directory, "consumer.log"),
    producerLog: join(directory, "producer.log"),
  };
}

async function startBroker(resources: Resources, startup: StartupLog): Promise<EmbeddedBroker> {
  const library = await startup.watch((say) => prepareNativeLibrary(say));
  startup.done("librdkafka", library.version);
  const broker = await EmbeddedBroker.start({ brokers: 1, topics: [TOPIC] });
  resources.defer("the embedded broker", BROKER_DEADLINE_MS, () => broker.stop());
  startup.done(
    "Kafka",
    `embedded broker, ${broker.bootstrapServers}, ${plural(TOPIC.partitions, "partition")}`,
  );
  return broker;
}

async function startPostgres(
  resources: Resources,
  startup: StartupLog,
): Promise<{ database: DatabaseConfig; directory: string }> {
  const starting = EmbeddedPostgres.start();
  starting.catch(() => undefined); // it is awaited below
  // Deferred before the server runs, so that a stop during its start releases it too.
  resources.defer("the embedded PostgreSQL", POSTGRES_DEADLINE_MS, async () => {
    const server = await starting.catch(() => undefined);
    await server?.[Symbol.asyncDispose]();
  });
  const server = await starting;
  const superuser: DatabaseConfig = {
    host: server.host,
    port: server.port,
    name: "postgres",
    user: server.user,
    password: server.password,
    sslMode: "disable",
    minConnections: 2,
    maxConnections: 10,
  };
  const database: DatabaseConfig = { ...superuser, name: DATABASE, user: ROLE, password: shortSecret() };
  const version = await nameDatabase(superuser, database);
  startup.done("PostgreSQL", `embedded server ${version}, ${server.host}:${server.port}, a new database`);
  return { database, directory: server.directory };
}

/**
 * Renames the cluster's own empty database, because creating one takes a while, and gives it to an ordinary role,
 * because the demo shows the role's password.
 * @returns the server's version
 */
async function nameDatabase(superuser: DatabaseConfig, database: DatabaseConfig): Promise<string> {
  const { user, password, name } = database;
  // A database can be renamed only while no session is connected to it.
  const session = await Session.open(
    { ...superuser, name: "template1" },
    { role: "main", consumerGroup: CONSUMER_GROUP },
  );
  try {
    return await session.run(async (sql) => {
      await sql.unsafe(`create role ${user} login password '${password}'`);
      await sql.unsafe(`alter database ${superuser.name} rename to ${name}`);
      await sql.unsafe(`alter database ${name} owner to ${user}`);
      const [row] = await sql<[{ version: string }]>`select current_setting('server_version') as version`;
      return row.version;
    });
  } finally {
    await session.close();
  }
}

/** Eight characters, because a person may type them; the server listens on this machine only. */
function shortSecret(): string {
  return crypto.randomUUID().slice(0, 8);
}
