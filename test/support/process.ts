// Runs a program of this repository as a child process, collects its output, and ends it with the test.
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { resolve } from "node:path";
import { errorMessage } from "../../shared/runtime/errors.ts";
import { type Reaper, reapOnExit } from "../../shared/runtime/child-reaper.ts";
import { eventually } from "./eventually.ts";
import { type Scrape, scrape } from "./metrics-text.ts";

const ROOT = resolve(import.meta.dir, "../..");

/** The variables of this process's environment that a program inherits; the test adds the rest. */
const INHERITED = ["PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME"];

export interface ProgramOptions {
  args?: readonly string[];
  /** The whole of its configuration: neither this process's variables nor a `.env` file reach it. */
  env?: Readonly<Record<string, string>>;
  /** What it reads from standard input; by default nothing. */
  input?: string;
}

/** A child process. Disposing kills it; so does the end of the test process. */
export class Program {
  readonly pid: number;
  readonly #process: Bun.Subprocess<"ignore" | "pipe", "pipe", "pipe">;
  readonly #reaper: Reaper;
  readonly #collected: Promise<unknown>;
  #stdout = "";
  #stderr = "";

  private constructor(process: Bun.Subprocess<"ignore" | "pipe", "pipe", "pipe">) {
    this.#process = process;
    this.pid = process.pid;
    this.#reaper = reapOnExit({ pid: process.pid, signal: "KILL" });
    this.#collected = Promise.all([
      collect(process.stdout, (text) => (this.#stdout += text)),
      collect(process.stderr, (text) => (this.#stderr += text)),
      process.exited.then(() => this.#reaper.release()),
    ]);
  }

  /** @param script its path in the repository, such as `workers/consumer.ts` */
  static start(script: string, { args = [], env = {}, input }: ProgramOptions = {}): Program {
    const child = Bun.spawn([process.execPath, "--no-env-file", resolve(ROOT, script), ...args], {
      cwd: ROOT,
      env: { ...inherited(...INHERITED), ...env },
      stdin: input === undefined ? "ignore" : "pipe",
      stdout: "pipe",
      stderr: "pipe",
    });
    if (child.stdin) {
      void child.stdin.write(input ?? "");
      void child.stdin.end();
    }
    return new Program(child);
  }

  /** What it has printed so far. */
  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** Standard output and standard error, one after the other, for messages and for searching. */
  get output(): string {
    return `${this.#stdout}${this.#stderr}`;
  }

  get running(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** STOP and CONT freeze and continue it; the other signals request or force its end. */
  signal(signal: "SIGINT" | "SIGTERM" | "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
    this.#process.kill(signal);
  }

  /**
   * Waits for its end, and for all of its output.
   * @returns its exit code, or 128 plus the number of the signal that ended it, as in a shell
   * @throws Error with its output when it does not end in time
   */
  async exit(timeoutMs = 60_000): Promise<number> {
    await this.#orExplain(eventually("the program has ended", () => !this.running, { timeoutMs }));
    await this.#collected;
    const { exitCode, signalCode } = this.#process;
    if (exitCode !== null) return exitCode;
    const signals: Record<string, number> = constants.signals;
    return 128 + signals[String(signalCode)]!;
  }

  /**
   * Waits until its output matches.
   * @throws Error with its output when it ends first, or the time is over
   */
  async printed(pattern: RegExp, timeoutMs = 60_000): Promise<RegExpMatchArray> {
    const found = await this.#orExplain(
      eventually(
        `the program prints ${pattern}`,
        async () => {
          const running = this.running;
          if (!running) await this.#collected;
          const match = this.output.match(pattern);
          return match ?? (running ? undefined : "ended");
        },
        { timeoutMs },
      ),
    );
    if (found === "ended") throw this.#explained(`the program ended without printing ${pattern}`);
    return found;
  }

  /** The port on which it serves HTTP, as its log reports it. */
  async port(): Promise<number> {
    return Number((await this.printed(/"port":(\d+)/))[1]);
  }

  /**
   * Scrapes its metrics until `condition` holds.
   * @param what the condition in words
   * @throws Error with its output when it ends first, or the time is over
   */
  async metrics(
    port: number,
    what: string,
    condition: (scrape: Scrape) => boolean,
    timeoutMs = 60_000,
  ): Promise<Scrape> {
    const found = await this.#orExplain(
      eventually(
        `metrics: ${what}`,
        async () => {
          if (!this.running) return "ended";
          const now = await scrape(port);
          return condition(now) ? now : undefined;
        },
        { timeoutMs, everyMs: 50 },
      ),
    );
    if (found === "ended") throw this.#explained(`the program ended before: ${what}`);
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.running) this.#process.kill("SIGKILL");
    await this.#collected;
  }

  async #orExplain<T>(waiting: Promise<T>): Promise<T> {
    try {
      return await waiting;
    } catch (error) {
      throw this.#explained(errorMessage(error));
    }
  }

  #explained(message: string): Error {
    return new Error(`${message}\nIts output:\n${this.output.trim().split("\n").slice(-40).join("\n")}`);
  }
}

/** Starts the producer program on a topic, on any free port. */
export function startProducer(
  { bootstrapServers, topic }: { readonly bootstrapServers: string; readonly topic: string },
  env: Readonly<Record<string, string>>,
): Program {
  return Program.start("workers/producer.ts", {
    env: {
      KAFKA_BOOTSTRAP_SERVERS: bootstrapServers,
      KAFKA_TOPIC: topic,
      METRICS_PORT_PRODUCER: "0",
      HTTP_HOST: "127.0.0.1",
      ...env,
    },
  });
}

async function collect(stream: ReadableStream<Uint8Array>, add: (text: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  for await (const bytes of stream) add(decoder.decode(bytes, { stream: true }));
}

/** @returns the variables of this process among `names`, for a child process that gets no others */
export function inherited(...names: string[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

/** Whether a process runs. A zombie does not: it has ended, and its parent may take long to reap it. */
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
