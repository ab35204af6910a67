import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { reapOnExit } from "../../shared/runtime/child-reaper.ts";
import { inherited, isRunning, Program } from "../support/process.ts";
import { eventually } from "../support/eventually.ts";

const DEMO = "workers/demo.ts";
const TIMEOUT_MS = 60_000;

/** What a demo puts there must be gone when it ends; PostgreSQL's user has to reach it too. */
let temporary: string;

beforeAll(async () => {
  temporary = await mkdtemp(join(tmpdir(), "event-pipeline-demo-test-"));
  await chmod(temporary, 0o755);
});

afterAll(() => rm(temporary, { recursive: true, force: true }));

function start(args: string[], env: Record<string, string> = {}): Program {
  return Program.start(DEMO, { args, env: { TMPDIR: temporary, ...env } });
}

/** The consumer's process and port, once it is ready. */
async function consumerOf(demo: Program): Promise<{ pid: number; port: number }> {
  const [, pid, port] = await demo.printed(/consumer +process (\d+), .*localhost:(\d+)\//, TIMEOUT_MS);
  return { pid: Number(pid), port: Number(port) };
}

/** A number in the output, "1,234" as 1234. */
function figure(output: string, pattern: RegExp): number {
  return Number(pattern.exec(output)?.[1]?.replaceAll(",", "") ?? Number.NaN);
}

/** Nothing is left: neither a file nor, of the processes that are known, a process. */
async function expectNothingLeft(...pids: number[]): Promise<void> {
  await eventually(
    "nothing of the demo is left",
    () => !pids.some(isRunning) && readdirSync(temporary).length === 0,
  );
}

describe("without a terminal", () => {
  test(
    "it runs for its time and ends with the ledger and 0",
    async () => {
      await using demo = start(["--seconds", "3", "--rate", "500"]);
      const { pid } = await consumerOf(demo);
      expect(await demo.exit(TIMEOUT_MS)).toBe(0);
      const { stdout, stderr } = demo;
      expect(stderr).toBe("");
      // No escape sequence, and as many lines as seconds.
      expect(stdout).not.toContain("\x1b");
      expect(stdout.match(/^\d:\d\d {2}produced/gm)?.length).toBeWithin(3, 7);
      expect(stdout).toContain("first event committed in PostgreSQL");

      const acknowledged = figure(stdout, /([\d,]+) records acknowledged by the broker/);
      expect(acknowledged).toBeWithin(300, 1600);
      expect(stdout).toContain(
        `ok     acknowledged_is_consumed     ${acknowledged.toLocaleString("en-US")} records acknowledged by the broker, ` +
          `${acknowledged.toLocaleString("en-US")} in its log, ${acknowledged.toLocaleString("en-US")} consumed`,
      );
      const broken = figure(stdout, /([\d,]+) broken on purpose/);
      const repeated = figure(stdout, /([\d,]+) repeated on purpose/);
      // One each in every thousand, near its beginning.
      expect([broken, repeated]).toEqual([
        Math.ceil((acknowledged - 100) / 1000),
        Math.ceil((acknowledged - 200) / 1000),
      ]);
      const stored = figure(stdout, /consumed, ([\d,]+) stored \+ /);
      expect(stored).toBe(acknowledged - broken - repeated);
      expect(stdout.trimEnd()).toMatch(/\nok: all \d+ proofs hold$/);
      await expectNothingLeft(pid);
    },
    TIMEOUT_MS,
  );

  test(
    "SIGINT in the middle drains, and ends with the ledger and 0; a taken port and what is configured elsewhere change nothing",
    async () => {
      using taken = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("somebody else") });
      await using demo = start(["--rate", "2000"], {
        METRICS_PORT_CONSUMER: String(taken.port),
        KAFKA_BOOTSTRAP_SERVERS: "nowhere.invalid:1",
        KAFKA_CONFIG_SECURITY_PROTOCOL: "SASL_SSL",
        DB_HOST: "nowhere.invalid",
        DB_PORT: "1",
        CONSUMER_WORKERS: "nonsense",
        PRODUCER_RATE: "nonsense",
        LOG_LEVEL: "nonsense",
      });
      const { pid, port } = await consumerOf(demo);
      expect(port).not.toBe(taken.port!);
      await demo.metrics(port, "some thousand are consumed", (scrape) => {
        return (scrape.value("events_consumed_total") ?? 0) > 2000;
      });
      demo.signal("SIGINT");
      expect(await demo.exit(TIMEOUT_MS)).toBe(0);
      expect(figure(demo.stdout, /([\d,]+) records acknowledged by the broker/)).toBeGreaterThan(2000);
      expect(demo.stdout.trimEnd()).toMatch(/\nok: all \d+ proofs hold$/);
      await expectNothingLeft(pid);
    },
    TIMEOUT_MS,
  );
});

describe("what goes wrong is said", () => {
  test(
    "a consumer that is killed: one sentence, its last lines, 1",
    async () => {
      await using demo = start(["--rate", "200"]);
      const { pid } = await consumerOf(demo);
      await demo.printed(/produced/, TIMEOUT_MS);
      process.kill(pid, "SIGKILL");
      expect(await demo.exit(TIMEOUT_MS)).toBe(1);
      expect(demo.stderr).toStartWith("the consumer process was ended by SIGKILL. Its last lines:\n");
      expect(demo.stderr).toContain("partitions assigned");
      expect(demo.stdout).not.toContain("proofs hold");
      await expectNothingLeft();
    },
    TIMEOUT_MS,
  );

  test(
    "a stop during the start: nothing is left, 1",
    async () => {
      await using demo = start([]);
      await demo.printed(/event-pipeline demo/, TIMEOUT_MS);
      demo.signal("SIGINT");
      expect(await demo.exit(TIMEOUT_MS)).toBe(1);
      expect(demo.stderr).toBe("stopped during the start: nothing was published\n");
      await expectNothingLeft();
    },
    TIMEOUT_MS,
  );

  test.each([[["--seconds", "soon"]], [["--seconds"]], [["--fast"]], [["now"]]])(
    "wrong usage, %p: 2",
    async (args) => {
      await using demo = start(args);
      expect(await demo.exit()).toBe(2);
      expect(demo.stdout).toBe("");
      expect(demo.stderr).toContain("--help");
    },
  );

  test("help is asked for: 0", async () => {
    await using demo = start(["--help"]);
    expect(await demo.exit()).toBe(0);
    expect(demo.stdout).toStartWith("Usage: bun run demo [--seconds N] [--rate N]");
  });
});

describe("it leaves nothing behind", () => {
  test(
    "when it is killed itself",
    async () => {
      await using demo = start([]);
      const { pid } = await consumerOf(demo);
      expect(isRunning(pid)).toBe(true);
      expect(readdirSync(temporary)).toHaveLength(1);
      demo.signal("SIGKILL");
      await demo.exit();
      await expectNothingLeft(pid);
    },
    TIMEOUT_MS,
  );

  test(
    "when a second signal forces it, while the consumer is stopped and cannot drain",
    async () => {
      await using demo = start(["--rate", "200"]);
      const { pid } = await consumerOf(demo);
      await demo.printed(/produced/, TIMEOUT_MS);
      process.kill(pid, "SIGSTOP");
      demo.signal("SIGTERM");
      await demo.printed(/finishing/);
      demo.signal("SIGTERM");
      expect(await demo.exit()).toBe(1);
      await expectNothingLeft(pid);
    },
    TIMEOUT_MS,
  );
});

describe("on a terminal", () => {
  const ENTER = "\x1b[?1049h";
  const LEAVE = "\x1b[?1049l";

  /** A demo on a terminal of its own, and all that the terminal was sent. */
  function onTerminal(args: string[], env: Record<string, string> = {}) {
    let sent = "";
    const decoder = new TextDecoder();
    const child = Bun.spawn(
      [process.execPath, "--no-env-file", resolve(import.meta.dir, "../..", DEMO), ...args],
      {
        env: {
          ...inherited("PATH", "HOME", "XDG_CACHE_HOME"),
          TMPDIR: temporary,
          TERM: "xterm-256color",
          ...env,
        },
        terminal: {
          cols: 100,
          rows: 30,
          data: (_, bytes) => void (sent += decoder.decode(bytes, { stream: true })),
        },
      },
    );
    const reaper = reapOnExit({ pid: child.pid, signal: "KILL" });
    return {
      sent: () => sent,
      type: (text: string) => child.terminal?.write(text),
      async exit(): Promise<number> {
        const code = await child.exited;
        reaper.release();
        return code;
      },
    };
  }

  test(
    "the view is drawn in place, and after Ctrl-C the terminal is as it was, with the ledger",
    async () => {
      const demo = onTerminal(["--rate", "500"]);
      await eventually(
        "the view shows something stored",
        () => /[1-9]\d* stored/.test(Bun.stripANSI(demo.sent())),
        {
          timeoutMs: TIMEOUT_MS,
        },
      );
      demo.type("\x03");
      expect(await demo.exit()).toBe(0);
      const [before, view, after, ...more] = demo.sent().replace(LEAVE, ENTER).split(ENTER);
      expect(more).toEqual([]);
      expect(Bun.stripANSI(before!)).toContain("first event committed in PostgreSQL");
      expect(view).toContain("\x1b[?2026h\x1b[H");
      expect(view).toContain("\x1b[36m"); // a colour
      expect(Bun.stripANSI(after!)).toContain("done: all that was published is consumed");
      expect(after).toMatch(/ok: all \d+ proofs hold/);
      await expectNothingLeft();
    },
    TIMEOUT_MS,
  );

  test(
    "what goes wrong is said after the terminal was given back; NO_COLOR is heard",
    async () => {
      const demo = onTerminal(["--rate", "500"], { NO_COLOR: "1" });
      await eventually("the view is there", () => demo.sent().includes(ENTER), { timeoutMs: TIMEOUT_MS });
      process.kill(Number(/process (\d+)/.exec(demo.sent())?.[1]), "SIGKILL");
      expect(await demo.exit()).toBe(1);
      const sent = demo.sent();
      expect(sent.indexOf("the consumer process was ended by SIGKILL")).toBeGreaterThan(sent.indexOf(LEAVE));
      for (const style of ["1", "4", "32", "36", "90"]) expect(sent).not.toContain(`\x1b[${style}m`);
      await expectNothingLeft();
    },
    TIMEOUT_MS,
  );
});
