import { describe, expect, test } from "bun:test";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  describeConfig,
  loadConfig,
  type ProgramRole,
  REFUSED_PROPERTIES,
  VARIABLES,
} from "../../shared/config/config.ts";
import { ConfigurationError } from "../../shared/runtime/errors.ts";

const PROCESSORS = 4;

function load(environment: Record<string, string> = {}, role: ProgramRole = "consumer") {
  return loadConfig(environment, role, PROCESSORS);
}

function problemsOf(environment: Record<string, string>, role: ProgramRole = "consumer"): readonly string[] {
  try {
    load(environment, role);
  } catch (error) {
    if (error instanceof ConfigurationError) return error.problems;
    throw error;
  }
  return [];
}

function secretFile(content: string): string {
  const path = join(mkdtempSync(join(tmpdir(), "pipeline-secret-")), "secret");
  writeFileSync(path, content);
  return path;
}

describe("defaults", () => {
  test("are those of the seed where it names them", () => {
    const { kafka, database, producer, consumer, monitoring, logLevel, warnings } = load();
    expect(kafka).toEqual({
      bootstrapServers: "localhost:9091,localhost:9092,localhost:9093",
      topics: ["user-events"],
      partitions: 6,
      replicationFactor: undefined,
      consumerGroup: "data-pipeline-consumer",
      passThrough: {},
    });
    expect(database).toEqual({
      host: "localhost",
      port: 5432,
      name: "data_pipeline",
      user: "pipeline_user",
      password: "pipeline_password",
      sslMode: "prefer",
      minConnections: 2,
      maxConnections: 10,
    });
    expect(producer).toEqual({
      minIntervalSeconds: 0.1,
      maxIntervalSeconds: 5,
      userCount: 1000,
      ratePerSecond: undefined,
      input: undefined,
    });
    expect(consumer).toEqual({
      workers: PROCESSORS,
      batchSize: 5000,
      hourGraceMinutes: 5,
      flushIntervalSeconds: 60,
      saveRawEvents: true,
      copyRawEvents: true,
      savePipelineMetrics: true,
      maxFutureSkewSeconds: 86_400,
    });
    expect(monitoring).toEqual({
      httpHost: "0.0.0.0",
      consoleAccess: "this_machine",
      producerPort: 8001,
      consumerPort: 8002,
      prometheusUrl: "http://localhost:9090",
      errorRateThreshold: 0.05,
      consumerLagThreshold: 1000,
      processingLatencyThresholdSeconds: 5,
      alertWebhookUrl: "",
    });
    expect(logLevel).toBe("info");
    expect(warnings).toEqual([]);
  });

  test("hold for variables that are empty, as compose files pass them", () => {
    const empty = Object.fromEntries(Object.keys(VARIABLES).map((name) => [name, ""]));
    delete empty["DB_PASSWORD"];
    expect(load(empty)).toEqual(load());
  });
});

describe("every variable arrives", () => {
  const given: Record<string, string> = {
    KAFKA_BOOTSTRAP_SERVERS: "a:1, [::1]:2",
    KAFKA_TOPIC: "one,two.b",
    KAFKA_TOPIC_PARTITIONS: "12",
    KAFKA_TOPIC_REPLICATION_FACTOR: "3",
    KAFKA_CONSUMER_GROUP: "g",
    DB_HOST: "/var/run/postgresql",
    DB_PORT: "5433",
    DB_NAME: "n",
    DB_USER: "u",
    DB_PASSWORD: "p w",
    DB_SSLMODE: "verify-full",
    DB_MIN_CONNECTIONS: "3",
    DB_MAX_CONNECTIONS: "20",
    PRODUCER_MIN_INTERVAL: "0.5",
    PRODUCER_MAX_INTERVAL: "1",
    PRODUCER_USER_COUNT: "7",
    PRODUCER_RATE: "2500.5",
    PRODUCER_INPUT: "-",
    CONSUMER_WORKERS: "9",
    CONSUMER_BATCH_SIZE: "100",
    AGGREGATOR_FLUSH_INTERVAL_MINUTES: "2",
    FLUSH_INTERVAL_SECONDS: "0.5",
    SAVE_RAW_EVENTS: "no",
    COPY_RAW_EVENTS: "false",
    SAVE_PIPELINE_METRICS: "0",
    MAX_FUTURE_SKEW_SECONDS: "60",
    HTTP_HOST: "127.0.0.1",
    METRICS_PORT_PRODUCER: "0",
    METRICS_PORT_CONSUMER: "65535",
    PROMETHEUS_URL: "https://prometheus:9090/x",
    ALERT_ERROR_RATE_THRESHOLD: "0.5",
    ALERT_CONSUMER_LAG_THRESHOLD: "2",
    ALERT_PROCESSING_LATENCY_THRESHOLD: "0.1",
    ALERT_WEBHOOK_URL: "https://hooks.example/T0/x",
    LOG_LEVEL: "DEBUG",
    AUTO_SETUP: "no",
  };

  test("with its own value", () => {
    const { warnings, ...config } = load(given);
    expect(warnings).toEqual([]);
    expect(config).toEqual({
      kafka: {
        bootstrapServers: "a:1,[::1]:2",
        topics: ["one", "two.b"],
        partitions: 12,
        replicationFactor: 3,
        consumerGroup: "g",
        passThrough: {},
      },
      database: {
        host: "/var/run/postgresql",
        port: 5433,
        name: "n",
        user: "u",
        password: "p w",
        sslMode: "verify-full",
        minConnections: 3,
        maxConnections: 20,
      },
      producer: {
        minIntervalSeconds: 0.5,
        maxIntervalSeconds: 1,
        userCount: 7,
        ratePerSecond: 2500.5,
        input: "-",
      },
      consumer: {
        workers: 9,
        batchSize: 100,
        hourGraceMinutes: 2,
        flushIntervalSeconds: 0.5,
        saveRawEvents: false,
        copyRawEvents: false,
        savePipelineMetrics: false,
        maxFutureSkewSeconds: 60,
      },
      monitoring: {
        httpHost: "127.0.0.1",
        consoleAccess: "this_machine",
        producerPort: 0,
        consumerPort: 65_535,
        prometheusUrl: "https://prometheus:9090/x",
        errorRateThreshold: 0.5,
        consumerLagThreshold: 2,
        processingLatencyThresholdSeconds: 0.1,
        alertWebhookUrl: "https://hooks.example/T0/x",
      },
      logLevel: "debug",
    });
  });

  test("and the table above leaves none out", () => {
    const named = [...Object.keys(given), "DB_PASSWORD_FILE", "ALERT_WEBHOOK_URL_FILE"];
    expect(named.toSorted()).toEqual(Object.keys(VARIABLES).toSorted());
  });

  test.each([
    ["", "0.0.0.0", "this_machine"],
    ["localhost", "localhost", "this_machine"],
    ["127.0.0.1", "127.0.0.1", "this_machine"],
    ["::1", "::1", "this_machine"],
    ["0.0.0.0", "0.0.0.0", "anyone"],
    ["::", "::", "anyone"],
    ["192.0.2.1", "192.0.2.1", "anyone"],
    ["localhost.example", "localhost.example", "anyone"],
    ["127.example", "127.example", "anyone"],
  ])("HTTP_HOST=%s listens on %s, and the console is for %s", (text, httpHost, consoleAccess) => {
    expect(loadConfig({ HTTP_HOST: text }, "consumer").monitoring).toMatchObject({
      httpHost,
      consoleAccess,
    });
  });

  test.each(["true", "TRUE", "1", "yes", "Yes"])("%s is true", (text) => {
    expect(load({ SAVE_RAW_EVENTS: text }).consumer.saveRawEvents).toBe(true);
  });

  test("unlimited is a rate", () => {
    expect(load({ PRODUCER_RATE: "unlimited" }).producer.ratePerSecond).toBe(Number.POSITIVE_INFINITY);
  });
});

describe("wrong values", () => {
  test.each([
    ["KAFKA_BOOTSTRAP_SERVERS", "localhost"],
    ["KAFKA_BOOTSTRAP_SERVERS", "localhost:0"],
    ["KAFKA_BOOTSTRAP_SERVERS", "localhost:65536"],
    ["KAFKA_BOOTSTRAP_SERVERS", "good:9092,http://bad:9092"],
    ["KAFKA_BOOTSTRAP_SERVERS", ","],
    ["KAFKA_TOPIC", "user events"],
    ["KAFKA_TOPIC", "a,ümlaut"],
    ["KAFKA_TOPIC", ".."],
    ["KAFKA_TOPIC", "a,a"],
    ["KAFKA_TOPIC", "x".repeat(250)],
    ["KAFKA_TOPIC", " , "],
    ["KAFKA_TOPIC_PARTITIONS", "0"],
    ["KAFKA_TOPIC_PARTITIONS", "1.5"],
    ["KAFKA_TOPIC_REPLICATION_FACTOR", "0"],
    ["KAFKA_CONSUMER_GROUP", "a b"],
    ["DB_HOST", "a b"],
    ["DB_PORT", "0"],
    ["DB_PORT", "65536"],
    ["DB_PORT", "tcp://10.0.0.1:5432"],
    ["DB_SSLMODE", "on"],
    ["DB_MIN_CONNECTIONS", "0"],
    ["DB_MAX_CONNECTIONS", "2"],
    ["PRODUCER_MIN_INTERVAL", "-1"],
    ["PRODUCER_MIN_INTERVAL", "0x10"],
    ["PRODUCER_MAX_INTERVAL", "0"],
    ["PRODUCER_MAX_INTERVAL", "NaN"],
    ["PRODUCER_USER_COUNT", "0"],
    ["PRODUCER_RATE", "0"],
    ["PRODUCER_RATE", "fast"],
    ["PRODUCER_RATE", "Infinity"],
    ["CONSUMER_WORKERS", "0"],
    ["CONSUMER_BATCH_SIZE", "0"],
    ["CONSUMER_BATCH_SIZE", "100001"],
    ["AGGREGATOR_FLUSH_INTERVAL_MINUTES", "-1"],
    ["FLUSH_INTERVAL_SECONDS", "0"],
    ["SAVE_RAW_EVENTS", "maybe"],
    ["MAX_FUTURE_SKEW_SECONDS", "soon"],
    ["HTTP_HOST", "a b"],
    ["METRICS_PORT_PRODUCER", "70000"],
    ["METRICS_PORT_CONSUMER", "-1"],
    ["PROMETHEUS_URL", "localhost:9090"],
    ["ALERT_ERROR_RATE_THRESHOLD", "5"],
    ["ALERT_CONSUMER_LAG_THRESHOLD", "-1"],
    ["ALERT_PROCESSING_LATENCY_THRESHOLD", "x"],
    ["ALERT_WEBHOOK_URL", "hooks.example/T0/x"],
    ["LOG_LEVEL", "loud"],
    ["AUTO_SETUP", "maybe"],
  ])("%s=%s is one problem that names it", (name, value) => {
    const problems = problemsOf({ [name]: value });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toStartWith(`${name}=`);
  });

  test("are all reported at once", () => {
    const problems = problemsOf({
      KAFKA_TOPIC: "a b",
      DB_PORT: "x",
      PRODUCER_MIN_INTERVAL: "6",
      SAVE_RAW_EVENTS: "perhaps",
      KAFKA_CONFIG_ACKS: "1",
      CONSUMER_WORKERS: "9",
    });
    expect(problems).toHaveLength(6);
    expect(problems.join("\n")).toMatch(/KAFKA_TOPIC.*DB_PORT|DB_PORT.*KAFKA_TOPIC/s);
  });

  test("min above max is named with both", () => {
    expect(problemsOf({ PRODUCER_MIN_INTERVAL: "2", PRODUCER_MAX_INTERVAL: "1" })[0]).toContain(
      "PRODUCER_MAX_INTERVAL=1",
    );
    expect(problemsOf({ DB_MIN_CONNECTIONS: "11" })[0]).toContain("DB_MAX_CONNECTIONS=10");
  });
});

describe("workers", () => {
  test.each([
    // processors, min, max, workers
    [4, 2, 10, 4],
    [1, 2, 10, 1],
    [16, 2, 10, 8],
    [2, 7, 10, 6],
    [2, 10, 10, 8],
    [64, 1, 3, 1],
  ])("%d processors, %d to %d connections: %d", (processors, min, max, workers) => {
    const environment = { DB_MIN_CONNECTIONS: `${min}`, DB_MAX_CONNECTIONS: `${max}` };
    expect(loadConfig(environment, "consumer", processors).consumer.workers).toBe(workers);
  });

  test("more than the connections allow is an error, as many is not", () => {
    expect(problemsOf({ CONSUMER_WORKERS: "9", DB_MAX_CONNECTIONS: "10" })).toHaveLength(1);
    expect(load({ CONSUMER_WORKERS: "8", DB_MAX_CONNECTIONS: "10" }).consumer.workers).toBe(8);
  });
});

describe("pass-through", () => {
  test("turns names into librdkafka's", () => {
    expect(
      load({ KAFKA_CONFIG_SSL_CA_LOCATION: "/ca.pem", KAFKA_CONFIG_LINGER_MS: "1", KAFKA_CONFIG_DEBUG: "" })
        .kafka.passThrough,
    ).toEqual({ "ssl.ca.location": "/ca.pem", "linger.ms": "1" });
  });

  test.each([
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "isolation.level",
    "enable.idempotence",
    "acks",
    "request.required.acks",
    "group.id",
    "bootstrap.servers",
    "metadata.broker.list",
  ])("refuses %s and says why", (property) => {
    const name = `KAFKA_CONFIG_${property.toUpperCase().replaceAll(".", "_")}`;
    const reason = REFUSED_PROPERTIES[property];
    expect(reason).toBeString();
    expect(problemsOf({ [name]: "x" })).toEqual([`${name}: ${property} cannot be changed (${reason})`]);
  });
});

describe("secrets", () => {
  test("come from files, without the last newline", () => {
    const { database, kafka } = load({
      DB_PASSWORD_FILE: secretFile("from file \r\n"),
      KAFKA_CONFIG_SASL_PASSWORD_FILE: secretFile("sasl\n\n"),
      KAFKA_CONFIG_SSL_KEY_PEM_FILE: secretFile("-----BEGIN\nx\n"),
    });
    expect(database.password).toBe("from file ");
    expect(kafka.passThrough).toEqual({ "sasl.password": "sasl\n", "ssl.key.pem": "-----BEGIN\nx" });
  });

  test("properties that are paths stay paths", () => {
    const given = {
      KAFKA_CONFIG_SSL_KEY_LOCATION: "/k",
      KAFKA_CONFIG_SASL_OAUTHBEARER_ASSERTION_FILE: "/nowhere/a",
      KAFKA_CONFIG_SASL_OAUTHBEARER_ASSERTION_PRIVATE_KEY_FILE: "/nowhere/b",
    };
    expect(load(given).kafka.passThrough).toEqual({
      "ssl.key.location": "/k",
      "sasl.oauthbearer.assertion.file": "/nowhere/a",
      "sasl.oauthbearer.assertion.private.key.file": "/nowhere/b",
    });
  });

  test("a missing file is a problem; so are both at once, without the secret in the message", () => {
    expect(problemsOf({ DB_PASSWORD_FILE: "/nowhere/x" })[0]).toContain("DB_PASSWORD_FILE=/nowhere/x");
    const both = problemsOf({ DB_PASSWORD: "hunter2", DB_PASSWORD_FILE: secretFile("x") });
    expect(both).toHaveLength(1);
    expect(both[0]).not.toContain("hunter2");
  });

  test("the producer leaves the database's secret alone", () => {
    expect(problemsOf({ DB_PASSWORD_FILE: "/nowhere/x" }, "producer")).toEqual([]);
  });

  test("a wrong address for alerts is not shown, and only who posts alerts reads it", () => {
    const [problem] = problemsOf({ ALERT_WEBHOOK_URL: "hooks.example/s3cret" });
    expect(problem).not.toContain("s3cret");
    expect(problemsOf({ ALERT_WEBHOOK_URL_FILE: "/nowhere/x" }, "check")).toEqual([]);
    expect(problemsOf({ ALERT_WEBHOOK_URL_FILE: "/nowhere/x" }, "producer")).toHaveLength(1);
  });

  test("an empty password is a password", () => {
    expect(load({ DB_PASSWORD: "" }).database.password).toBe("");
  });

  test("never reach the start-up line", () => {
    const secret = "s3cret-Value";
    const config = load({
      DB_PASSWORD: secret,
      KAFKA_CONFIG_SASL_PASSWORD: secret,
      KAFKA_CONFIG_SSL_KEY_PASSWORD: secret,
      KAFKA_CONFIG_SSL_KEY_PEM: secret,
      KAFKA_CONFIG_SASL_OAUTHBEARER_CLIENT_SECRET: secret,
      KAFKA_CONFIG_SASL_OAUTHBEARER_CONFIG: `secret=${secret}`,
      KAFKA_CONFIG_SASL_JAAS_CONFIG: `password="${secret}"`,
      KAFKA_CONFIG_SASL_OAUTHBEARER_ASSERTION_PRIVATE_KEY_PASSPHRASE: secret,
      KAFKA_CONFIG_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL: `https://user:${secret}@idp/token`,
      KAFKA_CONFIG_SASL_USERNAME: "visible",
      PROMETHEUS_URL: `http://admin:${secret}@prometheus:9090`,
      ALERT_WEBHOOK_URL: `https://hooks.example/services/${secret}`,
    });
    const line = JSON.stringify(describeConfig(config));
    expect(line).not.toContain(secret);
    expect(line).toContain('"sasl.username":"visible"');
    expect(line).toContain("@prometheus:9090");
    expect(line).toContain('"monitoring.alertWebhookUrl":"(redacted)"');
    expect(config.kafka.passThrough["sasl.password"]).toBe(secret);
  });

  test("the start-up line is flat and says what is used", () => {
    const line = describeConfig(load({ PRODUCER_RATE: "unlimited" }));
    expect(line["producer.ratePerSecond"]).toBe("unlimited");
    expect(line["kafka.topics"]).toBe("user-events");
    expect(line["database.password"]).toBe("(redacted)");
    expect(Object.values(line).every((value) => typeof value !== "object")).toBe(true);
  });
});

describe("misspellings", () => {
  test.each([
    ["KAFKA_BOOTSTRAP_SERVER", "KAFKA_BOOTSTRAP_SERVERS"],
    ["KAFKA_TOPICS", "KAFKA_TOPIC"],
    ["DB_PASSWD", "DB_PASSWORD"],
    ["CONSUMER_WORKER", "CONSUMER_WORKERS"],
    ["PRODUCER_MAX_INTERVALL", "PRODUCER_MAX_INTERVAL"],
    ["SAVE_RAW_EVENT", "SAVE_RAW_EVENTS"],
    ["MAX_FUTURE_SKEW", "MAX_FUTURE_SKEW_SECONDS"],
    ["LOG_LEVL", "LOG_LEVEL"],
  ])("%s is warned about, with %s as the guess", (name, guess) => {
    expect(load({ [name]: "x" }).warnings).toEqual([
      expect.stringMatching(new RegExp(`^${name} .*did you mean ${guess}\\?$`)),
    ]);
  });

  test("what begins like ours and is unknown is warned about without a guess", () => {
    expect(load({ ALERT_SOMETHING_ELSE: "1" }).warnings).toEqual([
      "ALERT_SOMETHING_ELSE is not a variable of this program and is ignored",
    ]);
  });

  test.each(["PATH", "HOME", "KAFKA_HEAP_OPTS", "DB_SERVICE_HOST", "KAFKA_PORT_9092_TCP_ADDR", "HTTP_PROXY"])(
    "%s belongs to others",
    (name) => {
      expect(load({ [name]: "x" }).warnings).toEqual([]);
    },
  );
});
