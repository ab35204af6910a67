// Restricts processes to cores, by taskset of util-linux.
import { cpus } from "node:os";
import { FatalError } from "../shared/runtime/errors.ts";
import { processTree } from "./processes.ts";

/** A core of the machine, from 0. */
type Core = number;

/**
 * Restricts processes with all their threads and children. What they start later is restricted too.
 * @throws FatalError where there is no taskset, or the machine lacks a core
 */
export async function pin(pids: readonly number[], cores: readonly Core[]): Promise<void> {
  const trees = await Promise.all(pids.map((pid) => processTree(pid)));
  for (const pid of trees.flat()) {
    const { exitCode, stderr } = Bun.spawnSync(["taskset", "-a", "-c", "-p", cores.join(","), String(pid)]);
    // A child may have ended since it was found.
    const runs = (await processTree(pid)).length > 0;
    if (exitCode !== 0 && runs)
      throw new FatalError(`taskset failed for cores ${cores.join(",")}: ${stderr.toString()}`);
  }
}

/** All cores of the machine. */
export function allCores(): Core[] {
  return cpus().map((_, core) => core);
}
