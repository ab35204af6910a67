// Runs the doctor, and reads its report.
import { expect } from "bun:test";
import { Program } from "../support/process.ts";

interface Report {
  readonly ok: boolean;
  readonly probes: readonly { readonly name: string; readonly result: string; readonly detail: string }[];
}

/** Also checks that its exit code and `ok` agree. */
export async function examine(env: Record<string, string>) {
  await using program = Program.start("workers/doctor.ts", { args: ["--json"], env });
  const code = await program.exit();
  const report = JSON.parse(program.stdout) as Report;
  expect({ code, ok: report.ok }).toEqual(code === 0 ? { code: 0, ok: true } : { code: 1, ok: false });
  const detailOf = (name: string) => report.probes.find((each) => each.name === name)?.detail;
  const named = (result: string) =>
    report.probes.filter((each) => each.result === result).map(({ name }) => name);
  return { code, report, detailOf, named };
}
