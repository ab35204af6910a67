// Runs the consumer program as a child process that logs to a file and ends with the demo.
import { closeSync, openSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { prettyFactory } from "pino-pretty";
import { FatalError } from "../../shared/runtime/errors.ts";
import { freePort } from "../../shared/runtime/free-port.ts";
import { type Reaper, reapOnExit } from "../../shared/runtime/child-reaper.ts";

const ROOT = resolve(import.meta.dir, "../..");
const HOST = "127.0.0.1";
/** The variables that the consumer inherits; the others, and those of a .env file, do not concern the demo. */
const INHERITED = ["PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "LD_LIBRARY_PATH", "TZ", "AUTO_SETUP"];
const READY_POLL_MS = 20;
const READY_DEADLINE_MS = 60_000;
const TAIL_LINES = 12;

const readable = prettyFactory({
  colorize: false,
  hideObject: true,
  ignore: "name,pid,hostname",
  translateTime: "UTC:HH:MM:ss.l",
  messageFormat: "{msg}{if err.message}: {err.message}{end}",
});

/** How a process ended: exactly one of the two is set. */
interface End {
  readonly exitCode: number | null;
  readonly signal: string | number | null;
}

export class ConsumerProcess {
  /** Where it serves the console, /metrics, /healthz and /readyz. */
  readonly port: number;
  readonly logPath: string;
  /** Resolves when the process has ended. */
  readonly ended: Promise<End>;
  readonly #process: Bun.Subprocess;
  readonly #reaper: Reaper;

  private constructor(environment: Readonly<Record<string, string>>, port: number, logPath: string) {
    this.port = port;
    this.logPath = logPath;
    const inherited = INHERITED.flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value] as const];
    });
    const log = openSync(this.logPath, "a");
    this.#process = Bun.spawn([process.execPath, "--no-env-file", join(ROOT, "workers/consumer.ts")], {
      cwd: ROOT,
      env: {
        ...Object.fromEntries(inherited),
        // Bun keeps headers for its C compiler there, and this directory goes with the demo.
        BUN_TMPDIR: dirname(logPath),
        ...environment,
        HTTP_HOST: HOST,
        METRICS_PORT_CONSUMER: String(port),
      },
      // Its own session: Ctrl-C reaches the demo only, which stops the consumer after the last record.
      detached: true,
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    // However the demo ends, the consumer ends too. Killing it is safe: offsets and data commit together.
    this.#reaper = reapOnExit({ pid: this.#process.pid, signal: "KILL" });
    this.ended = this.#process.exited.then(() => {
      this.#reaper.release();
      return { exitCode: this.#process.exitCode, signal: this.#process.signalCode };
    });
  }

  /**
   * Starts the program.
   * @param preferredPort used if it is free
   * @param logPath the file for its output
   */
  static async start(
    environment: Readonly<Record<string, string>>,
    preferredPort: number,
    logPath: string,
  ): Promise<ConsumerProcess> {
    return new ConsumerProcess(environment, await freePort(preferredPort), logPath);
  }

  get pid(): number {
    return this.#process.pid;
  }

  get running(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  url(path: string): string {
    return `http://localhost:${this.port}${path}`;
  }

  /**
   * Waits until the consumer has its partitions and its database.
   * @throws FatalError with its last lines if it ends first or takes too long
   */
  async untilReady(): Promise<void> {
    const deadlineMs = performance.now() + READY_DEADLINE_MS;
    while (this.running) {
      const answer = await fetch(`http://${HOST}:${this.port}/readyz`).catch(() => undefined);
      if (answer?.ok) return;
      if (performance.now() > deadlineMs) {
        const reasons = (await answer?.text()) ?? "no answer";
        throw new FatalError(`the consumer is not ready after a minute: ${reasons}\n${this.tail()}`);
      }
      await Bun.sleep(READY_POLL_MS);
    }
    throw await this.whyEnded();
  }

  /** Explains how it ended, with its last lines. */
  async whyEnded(): Promise<FatalError> {
    const { exitCode, signal } = await this.ended;
    const how = signal === null ? `ended with exit code ${exitCode}` : `was ended by ${signal}`;
    return new FatalError(`the consumer process ${how}. Its last lines:\n${this.tail()}`);
  }

  /**
   * Lets the consumer commit what it holds and end.
   * @throws FatalError if it does not end in time, or not with 0
   */
  async drain(deadlineMs: number): Promise<void> {
    this.#process.kill("SIGTERM");
    const end = await Promise.race([this.ended, Bun.sleep(deadlineMs)]);
    if (end === undefined) {
      throw new FatalError(
        `the consumer did not drain within ${deadlineMs / 1000} s. Its last lines:\n${this.tail()}`,
      );
    }
    if (end.exitCode !== 0) throw await this.whyEnded();
  }

  /** Its last log lines, formatted and indented. */
  tail(): string {
    const lines = readFileSync(this.logPath, "utf8").trimEnd().split("\n").slice(-TAIL_LINES);
    return lines.map((line) => `  ${readable(line).trimEnd() || line}`).join("\n");
  }

  /** Kills it. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.running) this.#process.kill("SIGKILL");
    await this.ended;
  }
}
