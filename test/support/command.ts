// Runs a command of this repository to its end.
import { Program } from "./process.ts";

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** @param script its path in the repository, such as `workers/check.ts` */
export async function runCommand(
  script: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<CommandResult> {
  await using program = Program.start(script, { args, env });
  const exitCode = await program.exit(120_000);
  return { exitCode, stdout: program.stdout, stderr: program.stderr };
}
