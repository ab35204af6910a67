import { describe, expect, test } from "bun:test";
import { codeOf } from "../../shared/runtime/errors.ts";
import {
  adviceFor,
  classify,
  ConnectionLost,
  describeFault,
  type FaultKind,
  refusalOf,
  isDisconnection,
  SchemaFault,
} from "../../shared/store/sqlstate.ts";
import { sharedPostgres } from "../support/postgres.ts";
import { rejection } from "../support/rejection.ts";
import { openSession } from "./pipeline-database.ts";

const withCode = (code: unknown) => Object.assign(new Error("something"), { code });

describe("classify", () => {
  test.each<[code: string, kind: FaultKind]>([
    ["40001", "transient"],
    ["40P01", "transient"],
    ["40003", "connection"],
    ["55P03", "blocked"],
    ["57014", "blocked"],
    ["57P01", "connection"],
    ["57P03", "connection"],
    ["25P03", "connection"],
    ["25P04", "connection"],
    ["08006", "connection"],
    ["53100", "connection"],
    ["53300", "connection"],
    ["58030", "connection"],
    ["XX000", "connection"],
    ["22003", "content"],
    ["22P02", "content"],
    ["22P05", "content"],
    ["54000", "content"],
    ["54001", "content"],
    ["54011", "schema"],
    ["23502", "schema"],
    ["23505", "schema"],
    ["23514", "schema"],
    ["42703", "schema"],
    ["42P01", "schema"],
    ["42501", "schema"],
    ["25006", "connection"],
    ["28P01", "access"],
    ["28000", "access"],
    ["3D000", "access"],
    ["ECONNREFUSED", "connection"],
    ["ECONNRESET", "connection"],
    ["CONNECTION_CLOSED", "connection"],
    ["CONNECTION_DESTROYED", "connection"],
    ["CONNECT_TIMEOUT", "connection"],
    ["EAI_AGAIN", "connection"],
    ["ERR_INVALID_ARG_TYPE", "bug"],
    ["UNDEFINED_VALUE", "bug"],
  ])("classifies %s as %s", (code, kind) => {
    expect(classify(withCode(code))).toBe(kind);
  });

  test("knows the errors of this program, and takes anything else for a bug", () => {
    expect(classify(new ConnectionLost("gone"))).toBe("connection");
    expect(classify(new SchemaFault("odd", { cause: withCode("22001") }))).toBe("schema");
    for (const thrown of [
      new TypeError("x"),
      "text",
      17,
      undefined,
      null,
      {},
      withCode(17),
      withCode(undefined),
      () => undefined,
    ]) {
      expect(classify(thrown)).toBe("bug");
    }
  });

  test("takes nothing before the first answer of the server for a bug or a fault of the tables", () => {
    const kindOf = (code: string) => classify(refusalOf(withCode(code)));
    expect(
      ["ERR_TLS_CERT_ALTNAME_INVALID", "DEPTH_ZERO_SELF_SIGNED_CERT", "42501", "22023"].map(kindOf),
    ).toEqual(Array.from({ length: 4 }, () => "access"));
    expect(["EPROTO", "EAI_NONAME", "ENETDOWN", "EMFILE", "53300", "57P03"].map(kindOf)).toEqual(
      Array.from({ length: 6 }, () => "connection"),
    );
    const bug = new TypeError("x is not a function");
    expect(refusalOf(bug)).toBe(bug);
  });

  test("recognizes real errors of the server", async () => {
    await using database = await (await sharedPostgres()).database();
    const session = await openSession(database);
    await session.sql`create table t (n smallint primary key)`;
    await session.sql`insert into t values (1)`;
    const cases: [statement: string, code: string, kind: FaultKind][] = [
      ["insert into t values (1)", "23505", "schema"],
      ["insert into t values (null)", "23502", "schema"],
      ["insert into t values (100000)", "22003", "content"],
      ["select 'x'::jsonb", "22P02", "content"],
      ["select m from t", "42703", "schema"],
      ["select * from u", "42P01", "schema"],
      ["set statement_timeout = 1; select pg_sleep(1)", "57014", "blocked"],
    ];
    for (const [statement, code, kind] of cases) {
      const error = await rejection(session.sql.unsafe(statement));
      expect({ statement, code: codeOf(error), kind: classify(error) }).toEqual({ statement, code, kind });
    }
    session.destroy();
  });
});

test("isDisconnection tells a lost connection from an error of a statement", () => {
  expect(
    [new ConnectionLost("gone"), withCode("ECONNRESET"), withCode("CONNECTION_CLOSED")].map(isDisconnection),
  ).toEqual([true, true, true]);
  expect(
    [withCode("53100"), withCode("57P01"), withCode("22003"), new Error("x"), undefined].map(isDisconnection),
  ).toEqual([false, false, false, false, false]);
});

test("describeFault contains the code once, and no values", () => {
  expect(describeFault(withCode("22003"))).toBe("something (22003)");
  expect(
    describeFault(Object.assign(new Error("connect ECONNREFUSED 127.0.0.1"), { code: "ECONNREFUSED" })),
  ).toBe("connect ECONNREFUSED 127.0.0.1");
  expect(
    describeFault(Object.assign(withCode("23505"), { detail: "Key (event_id)=(secret) already exists." })),
  ).not.toContain("secret");
  expect(describeFault("text")).toBe("text");
});

test("adviceFor has a sentence for every kind", () => {
  const kinds: FaultKind[] = ["connection", "transient", "blocked", "content", "schema", "access", "bug"];
  expect(new Set(kinds.map(adviceFor)).size).toBe(kinds.length);
});
