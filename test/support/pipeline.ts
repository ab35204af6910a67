// Runs consumer programs on a topic of known records, and proves that each record was stored once.
import { join } from "node:path";
import { prepareNativeLibrary } from "../../shared/kafka/native-library.ts";
import type { Settings } from "../../shared/kafka/client.ts";
import { KafkaProducer } from "../../shared/kafka/producer.ts";
import { producerSettings } from "../../shared/kafka/settings.ts";
import { migrate } from "../../shared/store/migrate.ts";
import { readMigrations } from "../../shared/store/migration-files.ts";
import { Session } from "../../shared/store/session.ts";
import { eventually } from "./eventually.ts";
import { type Published, recordAt } from "./known-records.ts";
import { sharedPostgres, type TestDatabase } from "./postgres.ts";
import { VARIANT } from "./postgres-variant.ts";
import { Program } from "./process.ts";
import { type RawRecord, RawProducer } from "./raw-producer.ts";
import { sharedKafka } from "./shared-kafka.ts";
import { TestConsumer } from "./test-consumer.ts";

export interface TestPipelineOptions {
  /** A topic that exists, on a Kafka of the test's own; by default a new one on the shared broker. */
  kafka?: { readonly bootstrapServers: string; readonly topic: string };
  /** By default a new one on the shared server. */
  database?: TestDatabase;
  /** Further configuration of every consumer. */
  env?: Readonly<Record<string, string>>;
  partitions?: number;
  /** Further librdkafka properties of the test's own producer. */
  producer?: Readonly<Record<string, string>>;
  /** Another folder with workers/consumer.ts in it; by default this repository. */
  root?: string;
}

export interface Ledger {
  readonly exitCode: number;
  /** The invariants that do not hold. */
  readonly violated: readonly string[];
  /** What the stored offsets account for. */
  readonly accounted: Published;
}

/** One pipeline under test. Disposing kills its consumers. */
export class TestPipeline implements AsyncDisposable {
  readonly topic: string;
  readonly bootstrapServers: string;
  readonly database: TestDatabase;
  readonly published: Published = { records: 0, events: 0, repeats: 0, broken: 0 };
  #env: Readonly<Record<string, string>>;
  readonly #consumers: TestConsumer[] = [];
  readonly #openProducer: () => Promise<KafkaProducer>;
  #producer: KafkaProducer;
  readonly #producerSettings: Settings;
  /** Opened by the first `send`. */
  #rawProducer: RawProducer | undefined;
  readonly #root: string | undefined;
  #failed = 0;

  private constructor(
    kafka: { bootstrapServers: string; topic: string },
    database: TestDatabase,
    openProducer: () => Promise<KafkaProducer>,
    producer: KafkaProducer,
    options: TestPipelineOptions,
  ) {
    this.topic = kafka.topic;
    this.bootstrapServers = kafka.bootstrapServers;
    this.database = database;
    this.#env = options.env ?? {};
    this.#root = options.root;
    this.#openProducer = openProducer;
    this.#producer = producer;
    this.#producerSettings = settingsOf(kafka, options);
  }

  static async start(options: TestPipelineOptions = {}): Promise<TestPipeline> {
    const kafka = options.kafka ?? (await onSharedKafka(options.partitions ?? 6));
    const database = options.database ?? (await (await sharedPostgres()).database());
    let pipeline: TestPipeline | undefined;
    await prepareNativeLibrary(() => {});
    const open = async () => {
      const producer: KafkaProducer = await KafkaProducer.open({
        settings: settingsOf(kafka, options),
        topic: kafka.topic,
        onWake: () => producer.poll(),
        onDelivered: () => {},
        onFailed: ({ count }) => {
          if (pipeline) pipeline.#failed += count;
        },
        onError: () => {},
        onLog: () => {},
      });
      return producer;
    };
    pipeline = new TestPipeline(kafka, database, open, await open(), options);
    if (VARIANT.isDmlOnly) await pipeline.#restrict();
    return pipeline;
  }

  /** Runs the programs with a role that owns nothing, on tables that exist. */
  async #restrict(): Promise<void> {
    await this.migrated();
    const { sql, name } = this.database;
    const user = `${name}_dml`;
    await sql.unsafe(`create role "${user}" login password 'p'`);
    await sql.unsafe(`grant select, insert, update, delete on all tables in schema public to "${user}"`);
    this.#env = { DB_USER: user, DB_PASSWORD: "p", ...this.#env };
  }

  /** Takes a new producer: one that knew a topic before it was recreated is confused by it. */
  async renewProducer(): Promise<void> {
    await this.#producer.close();
    await this.#rawProducer?.[Symbol.asyncDispose]();
    this.#rawProducer = undefined;
    this.#producer = await this.#openProducer();
  }

  /** Publishes the next `count` known records and waits until the broker has them. */
  async publish(count: number): Promise<void> {
    const end = this.published.records + count;
    while (this.published.records < end) {
      const { key, value, kind } = recordAt(this.published.records);
      if (this.#producer.sendText(key, value, 0)) {
        this.published.records++;
        this.published[kind]++;
      } else {
        this.#producer.poll();
        await Bun.sleep(1);
      }
    }
    await this.#flush();
  }

  /** Publishes records byte for byte, in their order, and waits until the broker has them; they are not counted. */
  async send(records: readonly RawRecord[]): Promise<void> {
    this.#rawProducer ??= await RawProducer.open(this.#producerSettings, this.topic);
    await this.#rawProducer.send(records);
  }

  /** Publishes one value, which is not counted. */
  async publishValue(value: string, key = "key"): Promise<void> {
    this.#producer.sendText(key, value, 0);
    await this.#producer.flush(10_000);
  }

  async #flush(): Promise<void> {
    const left = await this.#producer.flush(30_000);
    if (left > 0 || this.#failed > 0) throw new Error(`${left} records unsent, ${this.#failed} failed`);
  }

  /** Starts a consumer program on this topic and database, of the folder `root` if it is another one. */
  consumer(env: Readonly<Record<string, string>> = {}, root = this.#root): TestConsumer {
    const program = Program.start(join(root ?? "", "workers/consumer.ts"), {
      env: {
        ...this.database.env,
        KAFKA_BOOTSTRAP_SERVERS: this.bootstrapServers,
        KAFKA_TOPIC: this.topic,
        KAFKA_CONSUMER_GROUP: this.topic,
        METRICS_PORT_CONSUMER: "0",
        CONSUMER_WORKERS: "2",
        CONSUMER_BATCH_SIZE: "500",
        ...this.#env,
        ...env,
      },
    });
    const consumer = new TestConsumer(program);
    this.#consumers.push(consumer);
    return consumer;
  }

  /** Records accounted for in the stored offsets; 0 while there are no tables. */
  async consumed(): Promise<number> {
    const [exists] = await this.database.sql`select to_regclass('pipeline_offsets') is not null as yes`;
    if (!exists?.["yes"]) return 0;
    const [row] = await this.database
      .sql`select coalesce(sum(consumed), 0)::int as consumed from pipeline_offsets`;
    return Number(row?.["consumed"]);
  }

  /** Waits until everything published is stored. @throws Error with the consumers' output */
  async drained(timeoutMs = 120_000): Promise<void> {
    await this.until(
      "all is stored",
      async () => (await this.consumed()) >= this.published.records,
      timeoutMs,
    );
  }

  /** Waits for a condition. @throws Error with the consumers' output */
  async until(what: string, condition: () => Promise<boolean>, timeoutMs = 60_000): Promise<void> {
    try {
      await eventually(what, condition, { timeoutMs, everyMs: 50 });
    } catch (error) {
      const outputs = this.#consumers.map(({ program }) => program.output.split("\n").slice(-30).join("\n"));
      throw new Error(`${(error as Error).message}\n${outputs.join("\n---\n")}`, { cause: error });
    }
  }

  /** Creates the tables before a consumer does, for a test that puts triggers on them. */
  async migrated(): Promise<void> {
    const session = await Session.open(this.database.config, { role: "main", consumerGroup: this.topic });
    await migrate(session.sql, await readMigrations());
    await session.close();
  }

  /** Waits until the running consumers together fetch every partition, and each of them some. */
  async settled(partitions = 6): Promise<void> {
    await this.until("every partition is assigned", async () => {
      const running = this.#consumers.filter(({ program }) => program.running);
      const scrapes = await Promise.all(running.map((consumer) => consumer.scrape()));
      const sum = (name: string) => scrapes.reduce((total, found) => total + (found.value(name) ?? 0), 0);
      if (scrapes.some((found) => !found.value("consumer_assigned_partitions"))) return false;
      return sum("consumer_assigned_partitions") === partitions && sum("consumer_paused_partitions") === 0;
    });
  }

  /** What `check --json` says, and what the tables hold beside what was published. */
  async ledger(timeoutMs = 60_000): Promise<Ledger> {
    await using check = Program.start("workers/check.ts", {
      args: ["--json"],
      env: {
        ...this.database.env,
        ...this.#env,
        KAFKA_BOOTSTRAP_SERVERS: this.bootstrapServers,
        KAFKA_TOPIC: this.topic,
      },
    });
    const code = await check.exit(timeoutMs);
    const report = JSON.parse(check.stdout) as {
      ok: boolean;
      invariants: { name: string; ok: boolean; detail: string }[];
    };
    const [row] = await this.database.sql`
      select sum(consumed)::int as records, sum(stored)::int as events, sum(duplicates)::int as repeats,
        sum(dead_lettered)::int as broken
      from pipeline_offsets`;
    return {
      exitCode: code,
      violated: report.invariants.filter(({ ok }) => !ok).map(({ name, detail }) => `${name}: ${detail}`),
      accounted: { ...row } as unknown as Published,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { program } of this.#consumers) await program[Symbol.asyncDispose]();
    await this.#producer.close();
    await this.#rawProducer?.[Symbol.asyncDispose]();
    await this.database[Symbol.asyncDispose]();
  }
}

async function onSharedKafka(partitions: number) {
  const kafka = await sharedKafka();
  return { bootstrapServers: kafka.bootstrapServers, topic: await kafka.createTopic({ partitions }) };
}

function settingsOf(kafka: { bootstrapServers: string }, { producer = {} }: TestPipelineOptions): Settings {
  return producerSettings({ ...kafka, consumerGroup: "none", passThrough: producer });
}
