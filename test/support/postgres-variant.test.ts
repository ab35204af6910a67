import { expect, test } from "bun:test";
import { readVariant } from "./postgres-variant.ts";

test("TEST_POSTGRES names a version and ways to the server", () => {
  const installed = { version: undefined, isTls: false, isPooled: false, isDmlOnly: false };
  expect(readVariant("")).toEqual(installed);
  expect(readVariant("tls,dml")).toEqual({ ...installed, isTls: true, isDmlOnly: true });
  const { version, isPooled } = readVariant("15,pgbouncer");
  expect({ version, isPooled }).toEqual({ version: expect.stringMatching(/^15\./), isPooled: true });
});

test("TEST_POSTGRES with anything else is refused", () => {
  for (const wrong of ["14", "15,16", "ssl"]) expect(() => readVariant(wrong)).toThrow(/^TEST_POSTGRES=/);
});
