// Runs the doctor where PostgreSQL and Kafka refuse, and compares what it says with the programs.
import { expect } from "bun:test";
import { migrateDatabase } from "../store/pipeline-database.ts";
import { KafkaCluster } from "../support/kafka.ts";
import { sharedPostgres } from "../support/postgres.ts";
import { Program } from "../support/process.ts";
import { clusterTest, kafkaTest } from "../support/requirements.ts";
import { sharedKafka } from "../support/shared-kafka.ts";
import { examine } from "./examine.ts";

/** What a program prints when it cannot start. */
async function sentenceOf(script: string, env: Record<string, string>): Promise<string> {
  await using program = Program.start(script, {
    env: { METRICS_PORT_CONSUMER: "0", METRICS_PORT_PRODUCER: "0", HTTP_HOST: "127.0.0.1", ...env },
  });
  expect(await program.exit()).toBe(1);
  return program.stderr.trim();
}

kafkaTest(
  "the doctor says the same as the consumer of a refused login, of rights and of another group",
  async () => {
    await using database = await (await sharedPostgres()).database();
    const { sql, env, name } = database;
    const { bootstrapServers } = await sharedKafka();
    const kafka = { KAFKA_BOOTSTRAP_SERVERS: bootstrapServers, KAFKA_TOPIC: `test-${crypto.randomUUID()}` };
    const same = async (probe: string, settings: Record<string, string>) => {
      const all = { ...kafka, ...env, ...settings };
      const [found, said] = await Promise.all([examine(all), sentenceOf("workers/consumer.ts", all)]);
      expect(found.named("failed")).toContain(probe);
      expect(found.detailOf(probe)).toBe(said);
    };
    await same("postgres_login", { DB_PASSWORD: "wrong" });
    await same("postgres_login", { DB_NAME: "no_such_database" });
    const user = `${name}_reader`;
    await sql.unsafe(`create role "${user}" login password 'p'`);
    const login = { DB_USER: user, DB_PASSWORD: "p" };
    await same("postgres_tables", login);
    await migrateDatabase(database);
    await sql.unsafe(`grant select on all tables in schema public to "${user}"`);
    await same("postgres_rights", login);
  },
  90_000,
);

clusterTest(
  "the doctor names the rights in Kafka that a user lacks, and an address that clients cannot use",
  async () => {
    await using kafka = await KafkaCluster.start({
      users: { app: "app-secret" },
      properties: {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
      },
    });
    await kafka.createTopic("events");
    const allow = (...what: string[]) =>
      kafka.tool("org.apache.kafka.tools.AclCommand", ["--add", "--allow-principal", "User:app", ...what]);
    await allow("--operation", "Describe", "--operation", "Write", "--topic", "events");
    const env = {
      DB_PORT: "1",
      KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrapServers,
      KAFKA_TOPIC: "events",
      KAFKA_CONFIG_SECURITY_PROTOCOL: "sasl_plaintext",
      KAFKA_CONFIG_SASL_MECHANISM: "SCRAM-SHA-256",
      KAFKA_CONFIG_SASL_USERNAME: "app",
      KAFKA_CONFIG_SASL_PASSWORD: "app-secret",
    };
    const [lacking, refused, unseen] = await Promise.all([
      examine(env),
      examine({ ...env, KAFKA_CONFIG_SASL_PASSWORD: "wrong" }),
      examine({ ...env, KAFKA_TOPIC: "others" }),
    ]);
    expect(lacking.detailOf("kafka_login")).toBe("SASL_PLAINTEXT with SCRAM-SHA-256");
    expect(lacking.detailOf("kafka_rights")).toContain(
      "this user lacks Read on topic events, Read on group data-pipeline-consumer",
    );
    expect(refused.detailOf("kafka_login")).toContain("refuses the credentials");
    expect(unseen.detailOf("kafka_topics")).toContain("this user is not authorized");
    await allow("--operation", "Read", "--topic", "events", "--group", "data-pipeline-consumer");
    expect((await examine(env)).detailOf("kafka_rights")).toContain("may read and write");
  },
  120_000,
);
