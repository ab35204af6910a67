import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "../support/eventually.ts";
import { isRunning } from "../support/process.ts";

const MODULE = import.meta.resolve("../../shared/runtime/child-reaper.ts");

/** A process that starts a server (a shell that ignores what it can), has it guarded, and does `then`. */
async function guardedServer(signal: "QUIT" | "TERM" | "KILL", then: string) {
  const directory = await mkdtemp(join(tmpdir(), "event-pipeline-guardian-"));
  const script = `
    const { reapOnExit, removeOnExit } = await import(${JSON.stringify(MODULE)});
    const body = 'trap "" INT HUP; trap "echo asked > ${directory}.asked; exit" TERM QUIT; while :; do sleep 0.05; done';
    const server = Bun.spawn(["sh", "-c", body], { detached: true, stdio: ["ignore", "ignore", "ignore"] });
    const guardian = reapOnExit({ pid: server.pid, signal: ${JSON.stringify(signal)} });
    const directoryGuardian = removeOnExit(${JSON.stringify(directory)});
    server.unref();
    console.log(server.pid);
    ${then}`;
  const parent = Bun.spawn([process.execPath, "-e", script], { stdio: ["ignore", "pipe", "ignore"] });
  const pid = Number(new TextDecoder().decode((await parent.stdout.getReader().read()).value));
  // Signals to process 0 would go to this test's own process group.
  if (!(pid > 0)) throw new Error("the parent has printed no process id");
  return { parent, pid, directory, asked: `${directory}.asked` };
}

test.each([
  ["is killed", "await Bun.sleep(60_000)", "SIGKILL"],
  ["ends by a signal", "await Bun.sleep(60_000)", "SIGINT"],
  ["throws", 'await Bun.sleep(100); throw new Error("planned")', undefined],
  ["exits", "await Bun.sleep(100); process.exit(0)", undefined],
] as const)("the server and its directory go when the program %s", async (_, then, signal) => {
  const { parent, pid, directory, asked } = await guardedServer("TERM", then);
  expect(isRunning(pid)).toBe(true);
  if (signal) parent.kill(signal);
  await eventually("the server has ended", () => !isRunning(pid));
  await eventually("the directory is gone", () => !existsSync(directory));
  expect(await Bun.file(asked).text()).toBe("asked\n");
  await rm(asked);
});

test("a server that is frozen goes too", async () => {
  const { parent, pid, directory, asked } = await guardedServer("QUIT", "await Bun.sleep(60_000)");
  process.kill(pid, "SIGSTOP");
  parent.kill("SIGKILL");
  await eventually("the server has ended", () => !isRunning(pid));
  await eventually("the directory is gone", () => !existsSync(directory));
  await rm(asked, { force: true });
});

test("after release nothing is touched", async () => {
  const { parent, pid, directory, asked } = await guardedServer(
    "KILL",
    "guardian.release(); directoryGuardian.release(); await Bun.sleep(300);",
  );
  await parent.exited;
  await Bun.sleep(500);
  expect(isRunning(pid)).toBe(true);
  expect(existsSync(directory)).toBe(true);
  process.kill(pid, "SIGKILL");
  await rm(directory, { recursive: true });
  await rm(asked, { force: true });
});
