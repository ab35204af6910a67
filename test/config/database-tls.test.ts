import { describe, expect, test } from "bun:test";
import { loadConfig } from "../../shared/config/config.ts";
import { problemsOf } from "./problems-of.ts";

describe("files for TLS to PostgreSQL", () => {
  test("that would not be used are a problem", () => {
    for (const mode of ["disable", "allow", "prefer", "require"]) {
      expect(problemsOf({ DB_SSLMODE: mode, DB_SSLROOTCERT: "/ca.pem" })).toEqual([
        `DB_SSLROOTCERT=/ca.pem: is not used with DB_SSLMODE=${mode}; set DB_SSLMODE to verify-full, or to verify-ca`,
      ]);
    }
    const pair = { DB_SSLCERT: "/c.pem", DB_SSLKEY: "/c.key" };
    expect(problemsOf({ ...pair, DB_SSLMODE: "disable" })).toHaveLength(1);
    expect(problemsOf({ ...pair, DB_SSLMODE: "require" })).toEqual([]);
    expect(problemsOf({ ...pair, DB_SSLMODE: "verify-full", DB_SSLROOTCERT: "/ca.pem" })).toEqual([]);
  });

  test("are a certificate and its key together", () => {
    expect(problemsOf({ DB_SSLCERT: "/c.pem" })).toEqual(["DB_SSLCERT=/c.pem: needs DB_SSLKEY as well"]);
    expect(problemsOf({ DB_SSLKEY: "/c.key" })).toEqual(["DB_SSLKEY=/c.key: needs DB_SSLCERT as well"]);
  });
});

describe("a mode that verifies no certificate", () => {
  const warnings = (host: string, mode?: string, role: "consumer" | "check" | "producer" = "consumer") =>
    loadConfig({ DB_HOST: host, ...(mode && { DB_SSLMODE: mode }) }, role).warnings;

  test("is warned about where another machine gets the password", () => {
    for (const host of ["db.example", "10.0.0.1", "fd00::1", "localhost.example"]) {
      for (const mode of [undefined, "allow", "prefer", "require"]) {
        expect(warnings(host, mode)).toEqual([expect.stringContaining("gets the password")]);
      }
    }
    expect(warnings("db.example", "prefer", "check")).toHaveLength(1);
  });

  test("is no matter for this machine, a mode that verifies, a network that is trusted, or a program without it", () => {
    for (const host of ["localhost", "127.0.0.1", "127.1.2.3", "::1", "/var/run/postgresql"]) {
      expect(warnings(host)).toEqual([]);
    }
    for (const mode of ["verify-ca", "verify-full", "disable"])
      expect(warnings("db.example", mode)).toEqual([]);
    expect(warnings("db.example", "prefer", "producer")).toEqual([]);
  });
});
