import { describe, expect, test } from "bun:test";
import { problemsOf } from "./problems-of.ts";

describe("a wrong value", () => {
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
    ["DB_PORT", "udp:5432"],
    ["DB_HOST", "db:5432"],
    ["DB_HOST", "127.0.0.1:5432"],
    ["DB_HOST", "[::1]"],
    ["DB_HOST", "primary,standby"],
    ["DB_HOST", "db/name"],
    ["DB_HOST", "postgres://db"],
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
    ["CONSOLE", "yes"],
    ["PROMETHEUS_URL", "localhost:9090"],
    ["ALERT_ERROR_RATE_THRESHOLD", "5"],
    ["ALERT_CONSUMER_LAG_THRESHOLD", "-1"],
    ["ALERT_PROCESSING_LATENCY_THRESHOLD", "x"],
    ["ALERT_WEBHOOK_URL", "hooks.example/T0/x"],
    ["LOG_LEVEL", "loud"],
    ["AUTO_SETUP", "maybe"],
  ])("%s=%s is one problem that names the variable", (name, value) => {
    const problems = problemsOf({ [name]: value });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toStartWith(`${name}=`);
  });

  test("is reported together with all the others", () => {
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

  test("is one problem for each wrong item of a list", () => {
    const problems = problemsOf({ KAFKA_TOPIC: "a,..,b c", KAFKA_BOOTSTRAP_SERVERS: "a:1,b,c:0" });
    expect(problems.map((problem) => problem.split(": ")[0])).toEqual([
      "KAFKA_BOOTSTRAP_SERVERS=b",
      "KAFKA_BOOTSTRAP_SERVERS=c:0",
      "KAFKA_TOPIC=..",
      "KAFKA_TOPIC=b c",
    ]);
  });

  test("is a minimum above its maximum, and the problem names both", () => {
    expect(problemsOf({ PRODUCER_MIN_INTERVAL: "2", PRODUCER_MAX_INTERVAL: "1" })[0]).toContain(
      "PRODUCER_MAX_INTERVAL=1",
    );
    expect(problemsOf({ DB_MIN_CONNECTIONS: "11" })[0]).toContain("DB_MAX_CONNECTIONS=10");
  });
});
