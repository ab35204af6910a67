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

/** Demos put their files here and must remove them; PostgreSQL's user has to reach the folder too. */
let temporary: string;

beforeAll(async () => {
  temporary = await mkdtemp(join(tmpdir(), "event-pipeline-demo-test-"));
  await chmod(temporary, 0o755);
});

afterAll(() => rm(temporary, { recursive: true, force: true }));

function start(args: string[], env: Record<string, string> = {}): Program {
  return Program.start(DEMO, { args, env: { TMPDIR: temporary, ...env } });
}

/** The consumer's process id and port, once it is ready. */
async function consumerOf(demo: Program): Promise<{ pid: number; port: number }> {
  const [, pid, port] = await demo.printed(/consumer +process (\d+), .*localhost:(\d+)\//, TIMEOUT_MS);
  return { pid: Number(pid), port: Number(port) };
}

/** A number in the output, "1,234" as 1234. */
function figure(output: string, pattern: RegExp): number {
  return Number(pattern.exec(output)?.[1]?.replaceAll(",", "") ?? Number.NaN);
}

/** Waits until the files of the demo and the given processes are gone. */
async function expectNothingLeft(...pids: number[]): Promise<void> {
  await eventually(
    "nothing of the demo is left",
    () => !pids.some(isRunning) && readdirSync(temporary).length === 0,
    { timeoutMs: 30_000 },
  );
}

describe("a demo without a terminal", () => {
  test(
    "runs for its time, prints that all proofs hold and exits with 0",
    async () => {
      await using demo = start(["--seconds", "3", "--rate", "500"]);
      const { pid } = await consumerOf(demo);
      expect(await demo.exit(TIMEOUT_MS)).toBe(0);
      const { stdout, stderr } = demo;
      expect(stderr).toBe("");
      expect(stdout).not.toContain("\x1b");
      expect(stdout).toContain("first event committed in PostgreSQL");

      const acknowledged = figure(stdout, /([\d,]+) records acknowledged by the broker/);
      const text = acknowledged.toLocaleString("en-US");
      expect(stdout).toContain(
        `${text} records acknowledged by the broker, ${text} in its log, ${text} consumed`,
      );
      const invalid = figure(stdout, /([\d,]+) invalid records injected/);
      const repeated = figure(stdout, /([\d,]+) repeated events injected/);
      // One each in every thousand, near its beginning.
      expect([invalid, repeated]).toEqual(
        [100, 200].map((position) => Math.max(0, Math.ceil((acknowledged - position) / 1000))),
      );
      const stored = figure(stdout, /consumed, ([\d,]+) stored \+ /);
      expect(stored).toBe(acknowledged - invalid - repeated);
      // What /api served last is what the tables hold; and the rate was kept, but for what a pause lets it catch up.
      const [, seconds, produced, consumed, duplicates, deadLetters] =
        /^0:(\d\d) {2}produced (\d+).*consumed (\d+).*lag 0,.*duplicates (\d+), dead letters (\d+), done$/m
          .exec(stdout.replaceAll(/(?<=\d),(?=\d)/g, ""))
          ?.map(Number) ?? [];
      expect([produced, consumed, duplicates, deadLetters]).toEqual([
        acknowledged,
        acknowledged,
        repeated,
        invalid,
      ]);
      expect(acknowledged).toBeLessThanOrEqual(500 * (Number(seconds) + 2));
      expect(stdout.trimEnd()).toMatch(/\nok: all \d+ proofs hold$/);
      await expectNothingLeft(pid);
    },
    TIMEOUT_MS,
  );

  test(
    "drains at SIGINT and exits with 0, with its port taken and other configuration in the environment",
    async () => {
      using taken = Bun.serve({
        port: 0,
        hostname: "127.0.0.1",
        fetch: () => new Response("another program"),
      });
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
      await demo.metrics(port, "2000 records are consumed", (scrape) => {
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

describe("a demo that fails", () => {
  test(
    "reports a killed consumer with its last log lines and exits with 1",
    async () => {
      await using demo = start(["--rate", "200"]);
      const { pid } = await consumerOf(demo);
      await demo.printed(/produced/, TIMEOUT_MS);
      process.kill(pid, "SIGKILL");
      expect(await demo.exit(TIMEOUT_MS)).toBe(1);
      expect(demo.stderr).toStartWith("the consumer process was ended by SIGKILL. Its last lines:\n");
      expect(demo.stderr).toMatch(/^ {2}\[\d\d:\d\d:\d\d\.\d{3}\] [A-Z]+: \S/m);
      expect(demo.stdout).not.toContain("proofs hold");
      await expectNothingLeft();
    },
    TIMEOUT_MS,
  );

  test(
    "exits with 1 at a stop during its start",
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
    "exits with 2 for the arguments %p",
    async (args) => {
      await using demo = start(args);
      expect(await demo.exit()).toBe(2);
      expect(demo.stdout).toBe("");
      expect(demo.stderr).toContain("--help");
    },
  );

  test("prints its usage for --help", async () => {
    await using demo = start(["--help"]);
    expect(await demo.exit()).toBe(0);
    expect(demo.stdout).toStartWith("Usage: bun run demo [--seconds N] [--rate N]");
  });
});

describe("a demo leaves nothing behind", () => {
  test(
    "when it is killed",
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
    "when a second signal ends it while its consumer is frozen and cannot drain",
    async () => {
      await using demo = start(["--rate", "200"]);
      const { pid } = await consumerOf(demo);
      await demo.printed(/produced/, TIMEOUT_MS);
      process.kill(pid, "SIGSTOP");
      demo.signal("SIGTERM");
      await demo.printed(/finishing/);
      // A second signal within 0.1 s counts as the same one.
      await eventually("the demo has ended", () => {
        if (demo.running) demo.signal("SIGTERM");
        return !demo.running;
      });
      expect(await demo.exit()).toBe(1);
      await expectNothingLeft(pid);
    },
    TIMEOUT_MS,
  );
});

describe("a demo on a terminal", () => {
  const ENTER = "\x1b[?1049h";
  const LEAVE = "\x1b[?1049l";

  /** Starts a demo on its own terminal, and collects everything that is sent to the terminal. */
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
    "draws its view in place, and at Ctrl-C restores the terminal and prints the proofs",
    async () => {
      const demo = onTerminal(["--rate", "500"]);
      await eventually(
        "the view shows stored events",
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
      expect(view).toContain("\x1b[36m"); // a color
      expect(Bun.stripANSI(after!)).toContain("done: every published record is consumed");
      expect(after).toMatch(/ok: all \d+ proofs hold/);
      await expectNothingLeft();
    },
    TIMEOUT_MS,
  );

  test(
    "restores the terminal before it reports a failure, and obeys NO_COLOR",
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
