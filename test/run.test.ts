import { describe, expect, test } from "bun:test";
import { Program } from "./support/process.ts";

async function run(...args: string[]) {
  await using program = Program.start("test/run.ts", { args });
  return { exitCode: await program.exit(), stdout: program.stdout, stderr: program.stderr };
}

describe("bun run test", () => {
  test.each([
    [["test/no-such-folder"], "no test file matches test/no-such-folder"],
    [["test/run.test.ts", "nonsense"], "no test file matches nonsense"],
    [["--long", "test/run.test.ts"], "no long test file matches test/run.test.ts"],
    [["--bogus"], "--bogus"],
  ])("exits with 2 and runs nothing for %p", async (args, message) => {
    const { exitCode, stdout, stderr } = await run(...args);
    expect(exitCode).toBe(2);
    expect(stderr).toContain(message);
    expect(stderr).toContain("Usage: bun run test");
    expect(stdout).toBe("");
  });

  test("prints its usage for --help", async () => {
    const { exitCode, stdout } = await run("--help");
    expect(exitCode).toBe(0);
    expect(stdout).toStartWith("Usage: bun run test");
  });
});
