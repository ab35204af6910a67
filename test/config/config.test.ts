import { describe, expect, test } from "bun:test";
import { describeConfig, loadConfig, VARIABLES } from "../../shared/config/config.ts";

const PROCESSORS = 4;

function load(environment: Record<string, string> = {}) {
  return loadConfig(environment, "consumer", PROCESSORS);
}

describe("a configuration without variables", () => {
  test("consists of the defaults", () => {
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
      batchSize: 10_000,
      hourGraceMinutes: 5,
      flushIntervalSeconds: 60,
      saveRawEvents: true,
      copyRawEvents: true,
      savePipelineMetrics: true,
      maxFutureSkewSeconds: 86_400,
      rawEventsDays: undefined,
      hourlyUsersDays: undefined,
      deadLettersDays: undefined,
      pipelineMetricsDays: undefined,
      deadLetterLimit: undefined,
    });
    expect(monitoring).toEqual({
      httpHost: "::",
      access: "this_machine",
      console: "on",
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

  test("equals one whose variables are empty, as compose files pass them", () => {
    const empty = Object.fromEntries(Object.keys(VARIABLES).map((name) => [name, ""]));
    delete empty["DB_PASSWORD"];
    expect(load(empty)).toEqual(load());
  });
});

describe("a configuration with every variable", () => {
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
    DB_SSLROOTCERT: "/etc/ca.pem",
    DB_SSLCERT: "client.pem",
    DB_SSLKEY: "client.key",
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
    RETENTION_DAYS: "30",
    HOURLY_USERS_RETENTION_DAYS: "365",
    DEAD_LETTER_RETENTION_DAYS: "90.5",
    PIPELINE_METRICS_RETENTION_DAYS: "7",
    DEAD_LETTER_LIMIT: "0.25",
    HTTP_HOST: "127.0.0.1",
    CONSOLE: "off",
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

  test("has the value of each", () => {
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
        sslRootCert: "/etc/ca.pem",
        sslCert: "client.pem",
        sslKey: "client.key",
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
        rawEventsDays: 30,
        hourlyUsersDays: 365,
        deadLettersDays: 90.5,
        pipelineMetricsDays: 7,
        deadLetterLimit: 0.25,
      },
      monitoring: {
        httpHost: "127.0.0.1",
        access: "this_machine",
        console: "off",
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

  test("names every variable that there is", () => {
    const named = [
      ...Object.keys(given),
      "DB_PASSWORD_FILE",
      "PROMETHEUS_URL_FILE",
      "DB_PASSWORD_COMMAND",
      "KAFKA_OAUTH_TOKEN_COMMAND",
      "ALERT_WEBHOOK_URL_FILE",
    ];
    expect(named.toSorted()).toEqual(Object.keys(VARIABLES).toSorted());
  });
});

describe("a value", () => {
  test.each(["true", "TRUE", "1", "yes", "Yes"])("%s is read as true", (text) => {
    expect(load({ SAVE_RAW_EVENTS: text }).consumer.saveRawEvents).toBe(true);
  });

  test("unlimited is read as an infinite rate", () => {
    expect(load({ PRODUCER_RATE: "unlimited" }).producer.ratePerSecond).toBe(Number.POSITIVE_INFINITY);
  });

  test.each([
    ["", "::", "this_machine"],
    ["localhost", "localhost", "this_machine"],
    ["127.0.0.1", "127.0.0.1", "this_machine"],
    ["::1", "::1", "this_machine"],
    ["0.0.0.0", "0.0.0.0", "anyone"],
    ["::", "::", "anyone"],
    ["192.0.2.1", "192.0.2.1", "anyone"],
    ["localhost.example", "localhost.example", "anyone"],
    ["127.example", "127.example", "anyone"],
  ])("HTTP_HOST=%s makes the server listen on %s and shows the console to %s", (text, httpHost, access) => {
    expect(load({ HTTP_HOST: text }).monitoring).toMatchObject({
      httpHost,
      access,
    });
  });
});

describe("the start-up line", () => {
  test("holds no secret", () => {
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
    const line = JSON.stringify(describeConfig(config, "consumer"));
    expect(line).not.toContain(secret);
    expect(line).toContain('"sasl.username":"visible"');
    expect(line).toContain("@prometheus:9090");
    expect(line).toContain('"monitoring.alertWebhookUrl":"(redacted)"');
    expect(config.kafka.passThrough["sasl.password"]).toBe(secret);
  });

  test("is one flat object of the sections that the program uses", () => {
    const line = describeConfig(load(), "consumer");
    expect(line["kafka.topics"]).toBe("user-events");
    expect(line["database.password"]).toBe("(redacted)");
    expect(line["consumer.saveRawEvents"]).toBe(true);
    expect(Object.keys(line).filter((name) => name.startsWith("producer."))).toEqual([]);
    expect(Object.values(line).every((value) => typeof value !== "object")).toBe(true);
  });

  test("says unlimited for a rate without a limit", () => {
    const line = describeConfig(load({ PRODUCER_RATE: "unlimited" }), "producer");
    expect(line["producer.ratePerSecond"]).toBe("unlimited");
  });
});

describe("the retention", () => {
  test("is a positive number of days, or nothing", () => {
    for (const variable of [
      "RETENTION_DAYS",
      "HOURLY_USERS_RETENTION_DAYS",
      "DEAD_LETTER_RETENTION_DAYS",
      "PIPELINE_METRICS_RETENTION_DAYS",
    ]) {
      for (const wrong of ["0", "-1", "a month", "36501"]) {
        expect(() => load({ [variable]: wrong })).toThrow(
          `${variable}=${wrong}: must be a number from 0.001 to 36500`,
        );
      }
    }
  });

  test("warns where users go before raw events, because such events are not stored any more", () => {
    const warningsOf = (users: string, events?: string) =>
      load({ HOURLY_USERS_RETENTION_DAYS: users, ...(events && { RETENTION_DAYS: events }) }).warnings;
    expect(warningsOf("7", "30")).toEqual([
      "HOURLY_USERS_RETENTION_DAYS=7 is shorter than RETENTION_DAYS=30: events older than 7 days become dead letters (expired), because the users of their hours are gone",
    ]);
    expect(warningsOf("7")).toEqual([expect.stringContaining("RETENTION_DAYS, which is not set")]);
    expect(warningsOf("30", "30")).toEqual([]);
  });
});
