// Runs a command whose output is a secret, such as a password that is valid for some minutes.

const DEADLINE_MS = 10_000;

/**
 * @param command for `sh -c`
 * @returns what the command prints, without the last newline
 * @throws Error with a clause to stand after "the command"; it quotes what the command wrote to standard error, and
 *   nothing of its output
 */
export async function runSecretCommand(command: string, deadlineMs = DEADLINE_MS): Promise<string> {
  // A process group of its own: what the shell has started ends with it, and no longer holds the pipes.
  const child = Bun.spawn(["/bin/sh", "-c", command], {
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    process.kill(-child.pid, "SIGKILL");
  }, deadlineMs);
  const [output, complaint] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  const exitCode = await child.exited;
  clearTimeout(timer);
  if (isLate) throw new Error(`has not ended within ${deadlineMs / 1000} s`);
  if (exitCode !== 0) {
    const said = complaint.trim().split("\n").at(-1);
    throw new Error(`ended with exit code ${exitCode}${said ? `: ${said}` : ""}`);
  }
  const secret = output.replace(/\r?\n$/, "");
  if (secret === "") throw new Error("printed nothing");
  return secret;
}
