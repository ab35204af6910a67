import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "../support/eventually.ts";
import { isRunning } from "../support/process.ts";

const MODULE = import.meta.resolve("../../shared/runtime/child-reaper.ts");

/**
 * A process that starts a server (a shell that ignores what it can) with a directory, has both reaped, and then runs
 * `end` as soon as `go` is called.
 */
async function reapedServer(signal: "QUIT" | "TERM" | "KILL", end: string) {
  const directory = await mkdtemp(join(tmpdir(), "event-pipeline-reaper-"));
  const script = `
    const { reapOnExit, removeOnExit } = await import(${JSON.stringify(MODULE)});
    const body = 'trap "" INT HUP; trap "echo asked > ${directory}.asked; exit" TERM QUIT; while :; do sleep 0.05; done';
    const server = Bun.spawn(["sh", "-c", body], { detached: true, stdio: ["ignore", "ignore", "ignore"] });
    const reaper = reapOnExit({ pid: server.pid, signal: ${JSON.stringify(signal)} });
    const directoryReaper = removeOnExit(${JSON.stringify(directory)});
    server.unref();
    const children = Bun.spawnSync(["ps", "-A", "-o", "ppid=,pid="]).stdout.toString().trim().split("\\n")
      .map((line) => line.trim().split(/ +/).map(Number))
      .filter(([parent, pid]) => parent === process.pid && pid !== server.pid)
      .map(([, pid]) => pid);
    console.log(JSON.stringify({ server: server.pid, reapers: children }));
    for await (const line of console) break;
    ${end}`;
  const parent = Bun.spawn([process.execPath, "-e", script], { stdio: ["pipe", "pipe", "ignore"] });
  const { value } = await parent.stdout.getReader().read();
  const { server, reapers }: { server: number; reapers: number[] } = JSON.parse(
    new TextDecoder().decode(value),
  );
  const go = () => {
    void parent.stdin.write("go\n");
    void parent.stdin.end();
  };
  return { parent, server, reapers, directory, asked: `${directory}.asked`, go };
}

const WAIT = "await new Promise(() => {});";

describe("a reaped server and its directory", () => {
  test.each([
    ["is killed", WAIT, "SIGKILL"],
    ["ends by a signal", WAIT, "SIGINT"],
    ["throws", 'throw new Error("planned");', undefined],
    ["exits", "process.exit(0);", undefined],
  ] as const)("are gone after the program %s", async (_, end, signal) => {
    const { parent, server, directory, asked, go } = await reapedServer("TERM", end);
    expect(isRunning(server)).toBe(true);
    if (signal === undefined) go();
    else parent.kill(signal);
    await eventually("the server has ended", () => !isRunning(server), { timeoutMs: 20_000 });
    await eventually("the directory is gone", () => !existsSync(directory));
    expect(await Bun.file(asked).text()).toBe("asked\n");
    await rm(asked);
  });

  test("are gone after the program is killed, although the server is frozen", async () => {
    const { parent, server, directory, asked } = await reapedServer("QUIT", WAIT);
    process.kill(server, "SIGSTOP");
    parent.kill("SIGKILL");
    await eventually("the server has ended", () => !isRunning(server), { timeoutMs: 20_000 });
    await eventually("the directory is gone", () => !existsSync(directory));
    await rm(asked, { force: true });
  });

  test("stay after both reapers are released", async () => {
    const { parent, server, reapers, directory, asked, go } = await reapedServer(
      "KILL",
      "reaper.release(); directoryReaper.release(); process.exit(0);",
    );
    expect(reapers.length).toBeGreaterThanOrEqual(2);
    go();
    await parent.exited;
    await eventually("the reapers have ended", () => !reapers.some(isRunning));
    expect(isRunning(server)).toBe(true);
    expect(existsSync(directory)).toBe(true);
    process.kill(server, "SIGKILL");
    await rm(directory, { recursive: true });
    await rm(asked, { force: true });
  });
});
