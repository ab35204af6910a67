// A process id in; whether the process still runs out.
import { readFileSync } from "node:fs";

/** False for a zombie as well: it has ended, and whoever has to reap it may take long. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    return !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  } catch {
    // No such file where there is no /proc.
    return process.platform !== "linux";
  }
}
