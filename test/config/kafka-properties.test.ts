import { describe, expect, test } from "bun:test";
import { describeConfig, loadConfig } from "../../shared/config/config.ts";
import { REFUSED_PROPERTIES, variableOf } from "../../shared/config/kafka-properties.ts";
import { problemsOf } from "./problems-of.ts";

function passThrough(environment: Record<string, string>): Readonly<Record<string, string>> {
  return loadConfig(environment, "consumer").kafka.passThrough;
}

describe("a KAFKA_CONFIG_* variable", () => {
  test("sets the librdkafka property of its name", () => {
    expect(
      passThrough({
        KAFKA_CONFIG_SSL_CA_LOCATION: "/ca.pem",
        KAFKA_CONFIG_LINGER_MS: "1",
        KAFKA_CONFIG_DEBUG: "",
      }),
    ).toEqual({ "ssl.ca.location": "/ca.pem", "linger.ms": "1" });
  });

  test.each([
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "isolation.level",
    "partition.assignment.strategy",
    "enable.idempotence",
    "acks",
    "request.required.acks",
    "group.id",
    "bootstrap.servers",
    "metadata.broker.list",
  ])("is refused with the reason for %s", (property) => {
    const name = `KAFKA_CONFIG_${property.toUpperCase().replaceAll(".", "_")}`;
    const reason = REFUSED_PROPERTIES[property];
    expect(reason).toBeString();
    expect(problemsOf({ [name]: "x" })).toEqual([`${name}: ${property} cannot be changed (${reason})`]);
  });

  test("stays a path where the property is one, although its name ends in _FILE", () => {
    const given = {
      KAFKA_CONFIG_SSL_KEY_LOCATION: "/k",
      KAFKA_CONFIG_SASL_OAUTHBEARER_ASSERTION_FILE: "/nowhere/a",
      KAFKA_CONFIG_SASL_OAUTHBEARER_ASSERTION_PRIVATE_KEY_FILE: "/nowhere/b",
    };
    expect(passThrough(given)).toEqual({
      "ssl.key.location": "/k",
      "sasl.oauthbearer.assertion.file": "/nowhere/a",
      "sasl.oauthbearer.assertion.private.key.file": "/nowhere/b",
    });
  });
});

describe("the variable of a property", () => {
  test("sets that property", () => {
    expect(variableOf("ssl.ca.location")).toBe("KAFKA_CONFIG_SSL_CA_LOCATION");
    expect(passThrough({ [variableOf("linger.ms")]: "1" })).toEqual({ "linger.ms": "1" });
  });

  test("is its own where KAFKA_CONFIG_* may not set the property", () => {
    expect(["bootstrap.servers", "group.id"].map(variableOf)).toEqual([
      "KAFKA_BOOTSTRAP_SERVERS",
      "KAFKA_CONSUMER_GROUP",
    ]);
  });
});

describe("KAFKA_OAUTH_TOKEN_COMMAND", () => {
  const command = { KAFKA_OAUTH_TOKEN_COMMAND: "print-token hunter2" };

  test("is kept from the log", () => {
    const config = loadConfig({ ...command, KAFKA_CONFIG_SASL_MECHANISMS: "OAUTHBEARER" }, "consumer");
    expect(config.kafka.passThrough["oauth.token.command"]).toBe("print-token hunter2");
    expect(JSON.stringify(describeConfig(config, "consumer"))).not.toContain("hunter2");
  });

  test("is refused where nothing would use it", () => {
    expect(problemsOf(command)).toEqual([
      "KAFKA_OAUTH_TOKEN_COMMAND is set: set KAFKA_CONFIG_SASL_MECHANISMS=OAUTHBEARER as well",
    ]);
    const oidc = { KAFKA_CONFIG_SASL_MECHANISM: "OAUTHBEARER", KAFKA_CONFIG_SASL_OAUTHBEARER_METHOD: "oidc" };
    expect(problemsOf({ ...command, ...oidc })).toEqual([expect.stringContaining("leave one of them out")]);
  });
});
