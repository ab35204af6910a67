import { describe, expect, test } from "bun:test";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describeConfig, loadConfig } from "../../shared/config/config.ts";
import { problemsOf } from "./problems-of.ts";

function secretFile(content: string): string {
  const path = join(mkdtempSync(join(tmpdir(), "pipeline-secret-")), "secret");
  writeFileSync(path, content);
  return path;
}

describe("a secret", () => {
  test("comes from a file without its last newline", () => {
    const saslPassword = secretFile("sasl");
    const { database, kafka } = loadConfig(
      {
        DB_PASSWORD_FILE: secretFile("from file \r\n"),
        KAFKA_CONFIG_SASL_PASSWORD_FILE: saslPassword,
        KAFKA_CONFIG_SSL_KEY_PEM_FILE: secretFile("-----BEGIN\nx\n"),
      },
      "consumer",
    );
    expect(database.password).toBe("from file ");
    expect(kafka.passThrough).toEqual({
      "sasl.password.file": saslPassword,
      "ssl.key.pem": "-----BEGIN\nx",
    });
  });

  test("is a problem where its file is missing or its variable is set as well, and stays out of the message", () => {
    expect(problemsOf({ DB_PASSWORD_FILE: "/nowhere/x" })[0]).toContain("DB_PASSWORD_FILE=/nowhere/x");
    const both = problemsOf({ DB_PASSWORD: "hunter2", DB_PASSWORD_FILE: secretFile("x") });
    expect(both).toHaveLength(1);
    expect(both[0]).not.toContain("hunter2");
  });

  test("is read only by a program that uses it", () => {
    expect(problemsOf({ DB_PASSWORD_FILE: "/nowhere/x" }, "producer")).toEqual([]);
    expect(problemsOf({ DB_PASSWORD_FILE: "/nowhere/x" }, "check")).toHaveLength(1);
    expect(problemsOf({ ALERT_WEBHOOK_URL_FILE: "/nowhere/x" }, "check")).toEqual([]);
    expect(problemsOf({ ALERT_WEBHOOK_URL_FILE: "/nowhere/x" }, "producer")).toHaveLength(1);
  });

  test("stays out of the message where it is a wrong address", () => {
    const [problem] = problemsOf({ ALERT_WEBHOOK_URL: "hooks.example/s3cret" });
    expect(problem).not.toContain("s3cret");
  });

  test.each([
    "http://admin:s3cret/w@prometheus:9090",
    "http://admin:p@s3cret@w@prom etheus:9090",
    "ftp://admin:s3cret@prometheus:9090",
    "admin:s3cret@prometheus:9090",
    "ftp://prometheus:9090/?token=s3cret",
  ])("stays out of the message about the wrong address %s", (url) => {
    const [problem] = problemsOf({ PROMETHEUS_URL: url });
    expect(problem).toStartWith("PROMETHEUS_URL=");
    expect(problem).not.toContain("s3cret");
  });

  test.each(["http://admin:p@s3cret@w@prometheus:9090", "http://prometheus:9090/?token=s3cret#s3cret"])(
    "stays out of the start-up line with the address %s",
    (url) => {
      const line = describeConfig(loadConfig({ PROMETHEUS_URL: url }, "consumer"), "consumer");
      expect(line["monitoring.prometheusUrl"]).toContain("prometheus:9090");
      expect(JSON.stringify(line)).not.toContain("s3cret");
    },
  );

  test("in the address of Prometheus can come from a file", () => {
    const url = "http://admin:x@prometheus:9090";
    const file = secretFile(`${url}\n`);
    expect(loadConfig({ PROMETHEUS_URL_FILE: file }, "consumer").monitoring.prometheusUrl).toBe(url);
    const { prometheusUrl } = loadConfig({ PROMETHEUS_URL: "" }, "consumer").monitoring;
    expect(prometheusUrl).toBe("http://localhost:9090");
  });

  test("of the database is known with its file, which each connection reads again", () => {
    const file = secretFile("x");
    expect(loadConfig({ DB_PASSWORD_FILE: file }, "consumer").database.passwordFile).toBe(file);
    expect(loadConfig({ DB_PASSWORD: "x" }, "consumer").database.passwordFile).toBeUndefined();
  });

  test("of the database may be the output of a command, and of nothing else then", () => {
    const environment = { DB_PASSWORD_COMMAND: "print-token hunter2" };
    expect(loadConfig(environment, "consumer").database.passwordCommand).toBe("print-token hunter2");
    const described = describeConfig(loadConfig(environment, "consumer"), "consumer");
    expect(described["database.passwordCommand"]).toBe("(redacted)");
    expect(problemsOf({ ...environment, DB_PASSWORD: "x" })).toEqual([
      "DB_PASSWORD_COMMAND and DB_PASSWORD are both set: leave one of them out",
    ]);
    expect(problemsOf({ ...environment, DB_PASSWORD_FILE: secretFile("x") })).toEqual([
      "DB_PASSWORD_COMMAND and DB_PASSWORD_FILE are both set: leave one of them out",
    ]);
  });

  test("can be empty", () => {
    expect(loadConfig({ DB_PASSWORD: "" }, "consumer").database.password).toBe("");
  });
});
