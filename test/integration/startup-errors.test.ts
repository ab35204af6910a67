// Starts programs with something wrong and expects one clear sentence and an exit code, or patience where that is better.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { REFUSED_PROPERTIES } from "../../shared/config/kafka-properties.ts";
import { KafkaCluster } from "../support/kafka.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { startPostgres, sharedPostgres } from "../support/postgres.ts";
import { Program } from "../support/process.ts";
import { clusterTest, kafkaTest } from "../support/requirements.ts";
import { sharedKafka } from "../support/shared-kafka.ts";

// Most of these tests start several programs, one after the other.
setDefaultTimeout(150_000);

const CONSUMER = "workers/consumer.ts";
const PRODUCER = "workers/producer.ts";
const CHECK = "workers/check.ts";
/** Nothing listens there. */
const NOWHERE = "127.0.0.1:1";
/** Without a broker a program gives up after 20 s; everything else takes a second or two. */
const END_DEADLINE_MS = 60_000;

/** Starts a program with secrets in its environment, which no output may show. */
function start(script: string, env: Record<string, string>): Program {
  return Program.start(script, {
    env: {
      METRICS_PORT_CONSUMER: "0",
      METRICS_PORT_PRODUCER: "0",
      HTTP_HOST: "127.0.0.1",
      CONSUMER_WORKERS: "1",
      DB_PASSWORD: SECRET,
      KAFKA_CONFIG_SASL_PASSWORD: SECRET,
      ...env,
    },
  });
}

const SECRET = "hunter2-must-not-be-seen";

/** The exit code and the text of standard error, after the end. No output may show a secret. */
async function failure(program: Program, ...secrets: string[]): Promise<{ code: number; stderr: string }> {
  const code = await program.exit(END_DEADLINE_MS);
  for (const secret of [SECRET, ...secrets]) expect(program.output).not.toContain(secret);
  return { code, stderr: program.stderr };
}

/** One line on standard error, without a stack. */
function sentence(what: RegExp) {
  return {
    code: 1,
    stderr: expect.stringMatching(new RegExp(`^(?=[^\\n]+\\n$)(?!.*\\bat .*:\\d+:\\d+).*${what.source}`)),
  };
}

describe("configuration", () => {
  const wrong = {
    KAFKA_BOOTSTRAP_SERVERS: "localhost",
    KAFKA_TOPIC: "no spaces,..",
    KAFKA_CONFIG_ACKS: "1",
    KAFKA_CONFIG_ENABLE_AUTO_COMMIT: "true",
    DB_PORT: "70000",
    DB_SSLMODE: "maybe",
    CONSUMER_BATCH_SIZE: "0",
    PRODUCER_RATE: "-1",
    LOG_LEVEL: "loud",
  };
  const problems = [
    "CONSUMER_BATCH_SIZE=0: ",
    "DB_PORT=70000: ",
    "DB_SSLMODE=maybe: ",
    "KAFKA_BOOTSTRAP_SERVERS=localhost: ",
    "KAFKA_CONFIG_ACKS: ",
    "KAFKA_CONFIG_ENABLE_AUTO_COMMIT: ",
    "KAFKA_TOPIC=..: ",
    "KAFKA_TOPIC=no spaces: ",
    "LOG_LEVEL=loud: ",
    "PRODUCER_RATE=-1: ",
  ];

  for (const script of [CONSUMER, PRODUCER, CHECK]) {
    test(`${script} reports every problem at once, with exit code 2`, async () => {
      await using program = start(script, wrong);
      const { code, stderr } = await failure(program);
      expect(code).toBe(2);
      const lines = stderr.trimEnd().split("\n").toSorted();
      expect(lines.map((line, index) => line.slice(0, problems[index]?.length))).toEqual(problems);
      expect(program.stdout).toBe("");
    });
  }

  test("each property that exactly-once delivery depends on is refused", async () => {
    const variables = Object.keys(REFUSED_PROPERTIES).map(
      (property) => `KAFKA_CONFIG_${property.toUpperCase().replaceAll(".", "_")}`,
    );
    await using program = start(CONSUMER, Object.fromEntries(variables.map((name) => [name, "x"])));
    const { code, stderr } = await failure(program);
    expect(code).toBe(2);
    expect(
      stderr
        .trimEnd()
        .split("\n")
        .map((line) => line.split(":")[0]!),
    ).toEqual(variables.toSorted());
  });

  test("an unknown argument is refused", async () => {
    for (const script of [CONSUMER, PRODUCER, CHECK]) {
      await using program = Program.start(script, { args: ["--fast"] });
      const { code, stderr } = await failure(program);
      expect(code).toBe(2);
      expect(stderr).toContain("--fast");
    }
  });

  kafkaTest("properties that librdkafka does not know, or not with this value, are refused", async () => {
    await using database = await (await sharedPostgres()).database();
    const { bootstrapServers } = await sharedKafka();
    const cases: [variable: string, value: string, says: RegExp][] = [
      ["KAFKA_CONFIG_SESION_TIMEOUT_MS", "6000", /sesion\.timeout\.ms/],
      ["KAFKA_CONFIG_SECURITY_PROTOCOL", "tsl", /security\.protocol/],
      // Right alone, but less than a consumer's session.timeout.ms.
      ["KAFKA_CONFIG_MAX_POLL_INTERVAL_MS", "10000", /max\.poll\.interval\.ms/],
    ];
    for (const [variable, value, says] of cases) {
      for (const script of variable.includes("MAX_POLL") ? [CONSUMER] : [CONSUMER, PRODUCER]) {
        await using program = start(script, {
          ...database.env,
          KAFKA_BOOTSTRAP_SERVERS: bootstrapServers,
          KAFKA_TOPIC: "test-never-made",
          [variable]: value,
        });
        const { code, stderr } = await failure(program, database.address.password);
        expect({ script, variable, code, stderr }).toEqual({
          script,
          variable,
          code: 2,
          stderr: expect.stringMatching(new RegExp(`^[^\\n]*${says.source}[^\\n]*\\n$`)),
        });
      }
    }
  });
});

test("a taken port is reported with its variable", async () => {
  using taken = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response() });
  for (const [script, variable] of [
    [CONSUMER, "METRICS_PORT_CONSUMER"],
    [PRODUCER, "METRICS_PORT_PRODUCER"],
  ] as const) {
    await using program = start(script, { [variable]: String(taken.port) });
    expect(await failure(program)).toEqual({
      code: 1,
      stderr: `port ${taken.port} on 127.0.0.1 is taken by another program: set ${variable} to a free port\n`,
    });
  }
});

describe("PostgreSQL", () => {
  const cases: [name: string, change: Record<string, string>, says: RegExp][] = [
    ["a wrong password", { DB_PASSWORD: "wrong-and-secret" }, /authentication failed.*DB_PASSWORD/],
    ["no such user", { DB_USER: "nobody" }, /user "nobody".*DB_USER/],
    [
      "no such database",
      { DB_NAME: "no_such_database" },
      /database "no_such_database" does not exist.*DB_NAME/,
    ],
  ];
  for (const [name, change, says] of cases) {
    test(`${name} is reported by the consumer and by check`, async () => {
      await using database = await (await sharedPostgres()).database();
      await using consumer = start(CONSUMER, { ...database.env, ...change });
      await using check = start(CHECK, { ...database.env, ...change });
      for (const program of [consumer, check]) {
        expect(await failure(program, database.address.password, "wrong-and-secret")).toEqual(sentence(says));
      }
    });
  }

  test("a server that does not listen is reported by check, which does not wait", async () => {
    await using check = start(CHECK, { DB_HOST: "127.0.0.1", DB_PORT: "1" });
    expect(await failure(check)).toEqual(sentence(/PostgreSQL at 127\.0\.0\.1:1 cannot be read: .*DB_PORT/));
  });

  kafkaTest("a server that is still starting is waited for", async () => {
    await using server = await startPostgres();
    await using pipeline = await TestPipeline.start({ database: await server.database() });
    await pipeline.publish(1000);
    await server.stop("fast");
    const consumer = pipeline.consumer();
    await consumer.program.printed(new RegExp(`waiting for PostgreSQL at ${server.host}:${server.port}`));
    const port = await consumer.port();
    expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200);
    await pipeline.until("/readyz names PostgreSQL", async () => {
      const ready = await fetch(`http://127.0.0.1:${port}/readyz`);
      return ready.status === 503 && (await ready.text()).includes("PostgreSQL");
    });
    expect(consumer.program.running).toBe(true);

    await server.start();
    await pipeline.drained();
    await pipeline.until("it is ready", async () => (await fetch(`http://127.0.0.1:${port}/readyz`)).ok);
    await consumer.drain();
    expect(consumer.program.stderr).toBe("");
    expect(consumer.program.output).not.toContain(server.password);
    expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
  });
});

describe("Kafka", () => {
  kafkaTest("a wrong address is reported by the consumer and the producer", async () => {
    await using database = await (await sharedPostgres()).database();
    // Both wait for 20 s, so they wait together.
    await using lostConsumer = start(CONSUMER, { ...database.env, KAFKA_BOOTSTRAP_SERVERS: NOWHERE });
    await using lostProducer = start(PRODUCER, { KAFKA_BOOTSTRAP_SERVERS: NOWHERE });
    for (const program of [lostConsumer, lostProducer]) {
      expect(await failure(program, database.address.password)).toEqual(
        sentence(
          /no Kafka broker answers at 127\.0\.0\.1:1 \(see KAFKA_BOOTSTRAP_SERVERS.*Connection refused/,
        ),
      );
    }
  });

  clusterTest("a refused login, or a refused right to write, read or create, is reported", async () => {
    await using cluster = await KafkaCluster.start({
      users: { app: "app-secret" },
      properties: {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        // Brokers and tools use a listener without a login.
        "super.users": "User:ANONYMOUS",
      },
    });
    await using database = await (await sharedPostgres()).database();
    await cluster.createTopic("events");
    const allow = (...what: string[]) =>
      cluster.tool("org.apache.kafka.tools.AclCommand", ["--add", "--allow-principal", "User:app", ...what]);
    await allow("--operation", "Describe", "--operation", "DescribeConfigs", "--topic", "events");
    const login = (password: string) => ({
      ...database.env,
      KAFKA_BOOTSTRAP_SERVERS: cluster.bootstrapServers,
      KAFKA_TOPIC: "events",
      PRODUCER_RATE: "10",
      KAFKA_CONFIG_SECURITY_PROTOCOL: "sasl_plaintext",
      KAFKA_CONFIG_SASL_MECHANISM: "SCRAM-SHA-256",
      KAFKA_CONFIG_SASL_USERNAME: "app",
      KAFKA_CONFIG_SASL_PASSWORD: password,
    });
    const failing = async (script: string, env: Record<string, string>) => {
      await using program = start(script, env);
      return await failure(program, "app-secret", "wrong-secret");
    };
    const [wrongLogin, mayNotWrite, mayNotJoin, mayNotCreate] = await Promise.all([
      failing(PRODUCER, login("wrong-secret")),
      failing(PRODUCER, login("app-secret")),
      failing(CONSUMER, login("app-secret")),
      failing(PRODUCER, { ...login("app-secret"), KAFKA_TOPIC: "others" }),
    ]);
    await allow("--operation", "Read", "--group", "data-pipeline-consumer");
    const mayNotRead = await failing(CONSUMER, login("app-secret"));
    expect(wrongLogin).toEqual(sentence(/refuses the credentials: .*[Aa]uthentication failed/));
    expect(mayNotWrite).toEqual(
      sentence(/topic events cannot be written: .*(?:not authorized|authorization failed)/),
    );
    expect(mayNotJoin).toEqual(sentence(/does not let this user read events .*Group authorization failed/));
    expect(mayNotRead).toEqual(sentence(/does not let this user read events .*Topic authorization failed/));
    expect(mayNotCreate).toEqual(sentence(/topic others.*this user is not authorized/));
  });
});
