// Nothing in; a broker with a topic, a PostgreSQL server with an empty database, and how to reach them, out.
import { join } from "node:path";
import { EmbeddedBroker } from "../../shared/kafka/embedded.ts";
import { prepareNativeLibrary } from "../../shared/kafka/native-library.ts";
import type { DatabaseConfig } from "../../shared/config/config.ts";
import type { Resources } from "../../shared/runtime/resources.ts";
import { EmbeddedPostgres } from "../../shared/store/embedded-postgres.ts";
import { Session } from "../../shared/store/session.ts";
import { plural } from "../../shared/text/format.ts";
import type { Steps } from "./startup-log.ts";

export interface Servers {
  readonly broker: EmbeddedBroker;
  /** The demo's own database, as the role that owns it. */
  readonly database: DatabaseConfig;
  /** Beside the data of PostgreSQL, with which they go. */
  readonly consumerLog: string;
  readonly producerLog: string;
}

/** Its consumers, and the sessions that look at their database. */
export const CONSUMER_GROUP = "demo";
export const TOPIC = { name: "user-events", partitions: 6 } as const;
const DATABASE = "demo";
const ROLE = "demo";
const POSTGRES_DEADLINE_MS = 15_000;
const BROKER_DEADLINE_MS = 5000;

/** Starts both at once. What was started is released by `resources`, also when the other one fails. */
export async function startServers(resources: Resources, steps: Steps): Promise<Servers> {
  const [broker, { database, directory }] = await Promise.all([
    startBroker(resources, steps),
    startPostgres(resources, steps),
  ]);
  return {
    broker,
    database,
    consumerLog: join(directory, "consumer.log"),
    producerLog: join(directory, "producer.log"),
  };
}

async function startBroker(resources: Resources, steps: Steps): Promise<EmbeddedBroker> {
  const library = await steps.watch((say) => prepareNativeLibrary(say));
  steps.done("librdkafka", library.version);
  const broker = await EmbeddedBroker.start({ brokers: 1, topics: [TOPIC] });
  resources.defer("the embedded broker", BROKER_DEADLINE_MS, () => broker.stop());
  steps.done(
    "Kafka",
    `embedded broker, ${broker.bootstrapServers}, ${plural(TOPIC.partitions, "partition")}`,
  );
  return broker;
}

async function startPostgres(
  resources: Resources,
  steps: Steps,
): Promise<{ database: DatabaseConfig; directory: string }> {
  const starting = EmbeddedPostgres.start();
  starting.catch(() => undefined); // it is awaited below
  // Deferred before it runs: a stop in the middle of its start must find it too.
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
  steps.done("PostgreSQL", `embedded server ${version}, ${server.host}:${server.port}, a new database`);
  return { database, directory: server.directory };
}

/**
 * The cluster's own empty database under another name, since to make one takes a while; and an ordinary role that
 * owns it, since more is not needed and the view shows its password.
 * @returns the server's version
 */
async function nameDatabase(superuser: DatabaseConfig, database: DatabaseConfig): Promise<string> {
  const { user, password, name } = database;
  // Nobody may be connected to a database that is renamed.
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

/** Eight characters, since a person may type them; the server listens on this machine only. */
function shortSecret(): string {
  return crypto.randomUUID().slice(0, 8);
}
