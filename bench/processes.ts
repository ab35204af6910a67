// Reads the CPU time and the memory of processes from Linux's /proc.
import { readdir, readFile } from "node:fs/promises";

/** Linux counts CPU time in ticks of 10 ms. */
const MICROS_PER_TICK = 10_000;

interface ProcessStat {
  readonly parent: number;
  readonly cpuMicros: number;
  /** Includes the children that ended and were waited for. */
  readonly cpuMicrosWithChildren: number;
}

async function statOf(pid: number): Promise<ProcessStat | undefined> {
  // The name, in parentheses, may contain spaces, so the fields are counted after it.
  const text = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => undefined);
  if (text === undefined) return undefined;
  const fields = text
    .slice(text.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
  const [user = 0, system = 0, childUser = 0, childSystem = 0] = fields.slice(11, 15);
  return {
    parent: fields[1] ?? 0,
    cpuMicros: (user + system) * MICROS_PER_TICK,
    cpuMicrosWithChildren: (user + system + childUser + childSystem) * MICROS_PER_TICK,
  };
}

/** CPU time of a process with all of its threads, in microseconds; 0 after the process ended. */
export async function cpuMicros(pid: number): Promise<number> {
  return (await statOf(pid))?.cpuMicros ?? 0;
}

/** CPU time of a process and its children, in microseconds: PostgreSQL's postmaster and its backends. */
export async function treeCpuMicros(root: number): Promise<number> {
  const tree = await statsOfTree(root);
  return tree.reduce(
    (sum, { pid, stat }) => sum + (pid === root ? stat.cpuMicrosWithChildren : stat.cpuMicros),
    0,
  );
}

/** A process and its children. */
export async function processTree(root: number): Promise<number[]> {
  return (await statsOfTree(root)).map(({ pid }) => pid);
}

async function statsOfTree(root: number): Promise<{ pid: number; stat: ProcessStat }[]> {
  const pids = (await readdir("/proc")).map(Number).filter((pid) => pid > 0);
  const stats = await Promise.all(pids.map(async (pid) => ({ pid, stat: await statOf(pid) })));
  return stats.flatMap(({ pid, stat }) =>
    stat !== undefined && (pid === root || stat.parent === root) ? [{ pid, stat }] : [],
  );
}

/** The resident memory of a process, in MiB; 0 after the process ended. */
export async function residentMiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "latin1").catch(() => "");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) / 1024;
}

/** The peak of the resident memory of a process, in MiB; 0 after the process ended. */
export async function peakResidentMiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "latin1").catch(() => "");
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) / 1024;
}
