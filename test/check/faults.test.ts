// Tests that a check finds each injected fault by exactly the invariants that it contradicts.
import { expect, test } from "bun:test";
import { LETTER_FAULTS, OFFSET_FAULTS } from "./account-faults.ts";
import { broken, check, healthyDatabase, partlyUnsavedDatabase } from "./checked-database.ts";
import { HOUR_FAULTS, RAW_FAULTS, UNSAVED_FAULTS } from "./event-faults.ts";

for (const { what, sql, breaks } of [...RAW_FAULTS, ...HOUR_FAULTS, ...OFFSET_FAULTS, ...LETTER_FAULTS]) {
  test.concurrent(`a check finds "${what}" by ${breaks.join(", ")}`, async () => {
    await using database = await healthyDatabase();
    await inject(database.sql.unsafe(sql));
    await expectBroken(database, breaks);
  });
}

for (const { what, sql, breaks } of UNSAVED_FAULTS) {
  test.concurrent(`a check finds "${what}" by ${breaks.join(", ")}`, async () => {
    await using database = await partlyUnsavedDatabase();
    await inject(database.sql.unsafe(sql));
    await expectBroken(database, breaks);
  });
}

async function inject(statement: PromiseLike<{ readonly count: number }>): Promise<void> {
  expect((await statement).count).toBe(1);
}

async function expectBroken(database: Parameters<typeof check>[0], breaks: readonly string[]): Promise<void> {
  const report = await check(database);
  expect(broken(report)).toEqual([...breaks]);
  expect(report.ok).toBe(false);
  for (const { ok, detail } of report.invariants) {
    expect(detail).not.toMatch(/undefined|null|\[object/);
    expect(detail.includes("; wrong: ")).toBe(!ok);
    expect(detail).not.toEndWith(": ");
  }
}
