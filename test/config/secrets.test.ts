import { describe, expect, test } from "bun:test";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../shared/config/config.ts";
import { problemsOf } from "./problems-of.ts";

function secretFile(content: string): string {
  const path = join(mkdtempSync(join(tmpdir(), "pipeline-secret-")), "secret");
  writeFileSync(path, content);
  return path;
}

describe("a secret", () => {
  test("comes from a file without its last newline", () => {
    const { database, kafka } = loadConfig(
      {
        DB_PASSWORD_FILE: secretFile("from file \r\n"),
        KAFKA_CONFIG_SASL_PASSWORD_FILE: secretFile("sasl\n\n"),
        KAFKA_CONFIG_SSL_KEY_PEM_FILE: secretFile("-----BEGIN\nx\n"),
      },
      "consumer",
    );
    expect(database.password).toBe("from file ");
    expect(kafka.passThrough).toEqual({ "sasl.password": "sasl\n", "ssl.key.pem": "-----BEGIN\nx" });
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

  test("of the database is known with its file, which each connection reads anew", () => {
    const file = secretFile("x");
    expect(loadConfig({ DB_PASSWORD_FILE: file }, "consumer").database.passwordFile).toBe(file);
    expect(loadConfig({ DB_PASSWORD: "x" }, "consumer").database.passwordFile).toBeUndefined();
  });

  test("can be empty", () => {
    expect(loadConfig({ DB_PASSWORD: "" }, "consumer").database.password).toBe("");
  });
});
