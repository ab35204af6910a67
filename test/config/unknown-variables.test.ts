import { describe, expect, test } from "bun:test";
import { loadConfig } from "../../shared/config/config.ts";

describe("an unknown variable", () => {
  test.each([
    ["KAFKA_BOOTSTRAP_SERVER", "KAFKA_BOOTSTRAP_SERVERS"],
    ["KAFKA_TOPICS", "KAFKA_TOPIC"],
    ["DB_PASSWD", "DB_PASSWORD"],
    ["CONSUMER_WORKER", "CONSUMER_WORKERS"],
    ["PRODUCER_MAX_INTERVALL", "PRODUCER_MAX_INTERVAL"],
    ["SAVE_RAW_EVENT", "SAVE_RAW_EVENTS"],
    ["MAX_FUTURE_SKEW", "MAX_FUTURE_SKEW_SECONDS"],
    ["LOG_LEVL", "LOG_LEVEL"],
  ])("%s is reported with %s as the guess", (name, guess) => {
    expect(loadConfig({ [name]: "x" }, "consumer").warnings).toEqual([
      expect.stringMatching(new RegExp(`^${name} .*did you mean ${guess}\\?$`)),
    ]);
  });

  test("is reported without a guess where it only begins like ours", () => {
    expect(loadConfig({ ALERT_SOMETHING_ELSE: "1" }, "consumer").warnings).toEqual([
      "ALERT_SOMETHING_ELSE is not a variable of this program and is ignored",
    ]);
  });

  test.each(["PATH", "HOME", "KAFKA_HEAP_OPTS", "HTTP_PROXY"])(
    "%s is ignored because it belongs to another program",
    (name) => {
      expect(loadConfig({ [name]: "x" }, "consumer").warnings).toEqual([]);
    },
  );
});
