// Runs the doctor against servers that are well, that are missing, and that refuse.
import { describe, expect, test } from "bun:test";
import { AdminClient } from "../../shared/kafka/admin-client.ts";
import { adminSettings } from "../../shared/kafka/settings.ts";
import { ErrorCode } from "../../shared/kafka/error-codes.ts";
import { prepareNativeLibrary } from "../../shared/kafka/native-library.ts";
import { migrateDatabase } from "../store/pipeline-database.ts";
import { sharedPostgres } from "../support/postgres.ts";
import { Program } from "../support/process.ts";
import { kafkaTest } from "../support/requirements.ts";
import { sharedKafka } from "../support/shared-kafka.ts";
import { examine } from "./examine.ts";

const NOWHERE = "127.0.0.1:1";

describe("the doctor", () => {
  kafkaTest(
    "finds nothing wrong before the first start, and creates nothing",
    async () => {
      const { bootstrapServers } = await sharedKafka();
      await using database = await (await sharedPostgres()).database();
      const topic = `test-${crypto.randomUUID()}`;
      const env = { ...database.env, KAFKA_BOOTSTRAP_SERVERS: bootstrapServers, KAFKA_TOPIC: topic };
      const { code, named, detailOf } = await examine(env);
      expect(named("failed")).toEqual([]);
      expect(named("skipped")).toEqual([]);
      expect(code).toBe(0);
      expect(detailOf("kafka_topics")).toContain(`${topic} does not exist`);
      expect(detailOf("postgres_tables")).toContain("the first start of the consumer creates the tables");
      const tables = await database.sql`select from pg_tables where schemaname = 'public'`;
      expect(tables).toHaveLength(0);
      const settings = adminSettings({ bootstrapServers, consumerGroup: "", passThrough: {} });
      await prepareNativeLibrary(() => {});
      const admin = await AdminClient.open(settings);
      const [found] = await admin.describeTopics([topic], 5000);
      admin.close();
      expect(found?.errorCode).toBe(ErrorCode.unknownTopicOrPartition);
    },
    60_000,
  );

  kafkaTest(
    "prints one line for each probe, and the id of a topic",
    async () => {
      const kafka = await sharedKafka();
      const topic = await kafka.createTopic();
      await using database = await (await sharedPostgres()).database();
      await migrateDatabase(database);
      await using program = Program.start("workers/doctor.ts", {
        env: { ...database.env, KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrapServers, KAFKA_TOPIC: topic },
      });
      expect(await program.exit()).toBe(0);
      const lines = program.stdout.trimEnd().split("\n");
      expect(lines.at(-1)).toBe("ok: the pipeline can run");
      expect(lines.slice(0, -2).every((line) => /^ {2}(ok|note|-) +[a-z_]+ {2,}\S/.test(line))).toBe(true);
      expect(program.stdout).toMatch(new RegExp(`kafka_topic_ids +${topic} [\\w-]{22}`));
      expect(program.stdout).toMatch(/postgres_tables +up to date/);
    },
    60_000,
  );

  test("says what is missing where nothing runs, and tries the rest", async () => {
    const env = {
      KAFKA_BOOTSTRAP_SERVERS: `${NOWHERE},nowhere.invalid:9092`,
      DB_HOST: "127.0.0.1",
      DB_PORT: "1",
    };
    const { named, detailOf } = await examine(env);
    expect(named("failed")).toEqual(["kafka_address", "postgres_address"]);
    expect(named("ok")).toContain("library");
    expect(named("skipped")).toEqual(
      expect.arrayContaining(["kafka_login", "postgres_login", "postgres_tables"]),
    );
    expect(detailOf("kafka_address")).toContain("the name nowhere.invalid is not known on this machine");
    expect(detailOf("postgres_address")).toContain("127.0.0.1:1 cannot be connected to (ECONNREFUSED)");
  }, 60_000);

  test("reports a property that librdkafka does not know, and exits with 2 for a wrong variable", async () => {
    const { detailOf } = await examine({
      KAFKA_BOOTSTRAP_SERVERS: NOWHERE,
      KAFKA_CONFIG_NO_SUCH: "1",
      DB_PORT: "1",
    });
    expect(detailOf("kafka_settings")).toBe("KAFKA_CONFIG_NO_SUCH: librdkafka has no property no.such");
    await using wrong = Program.start("workers/doctor.ts", { env: { DB_PORT: "x" } });
    expect(await wrong.exit()).toBe(2);
  }, 60_000);
});
