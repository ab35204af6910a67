// Builds the environment of the consumer program from the embedded servers.
import { variableOf } from "../../shared/config/kafka-properties.ts";
import { EMBEDDED_CONSUMER_SETTINGS } from "../../shared/kafka/embedded.ts";
import { CONSUMER_GROUP, type Servers, TOPIC } from "./servers.ts";

/**
 * One is enough here. The embedded broker notices a second worker only after a second, and until then half of the
 * partitions would have no owner.
 */
export const WORKERS = 1;

/** Everything that the consumer needs; the demo's environment and .env files are not passed on. */
export function consumerEnvironment({ broker, database }: Servers): Record<string, string> {
  const properties = Object.entries(EMBEDDED_CONSUMER_SETTINGS).map(([name, value]) => [
    variableOf(name),
    value,
  ]);
  return {
    KAFKA_BOOTSTRAP_SERVERS: broker.bootstrapServers,
    KAFKA_TOPIC: TOPIC.name,
    KAFKA_TOPIC_PARTITIONS: String(TOPIC.partitions),
    KAFKA_CONSUMER_GROUP: CONSUMER_GROUP,
    ...Object.fromEntries(properties),
    DB_HOST: database.host,
    DB_PORT: String(database.port),
    DB_NAME: database.name,
    DB_USER: database.user,
    DB_PASSWORD: database.password,
    DB_SSLMODE: database.sslMode,
    CONSUMER_WORKERS: String(WORKERS),
    FLUSH_INTERVAL_SECONDS: "10",
  };
}
