// Runs the consumer processes of a chaos run, and starts one again that ends without having been asked to.
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { eventually } from "../../support/eventually.ts";
import { Scrape } from "../../support/metrics-text.ts";
import { Program } from "../../support/process.ts";

const SABOTEUR = resolve(import.meta.dir, "saboteur.ts");
const SCRAPE_EVERY_MS = 500;
const SCRAPE_TIMEOUT_MS = 2000;
const EXIT_DEADLINE_MS = 60_000;
/** Exit codes from here on are those of signals, such as that of abort(). */
const BY_SIGNAL = 128;
/** Other faults may keep a consumer from starting for a minute. */
const OWNING_DEADLINE_MS = 180_000;
/** What supervises a program waits a little before it starts it again. */
const RESTART_AFTER_MS = 1000;

/** One consumer process, and what is known of it. */
export class FleetConsumer {
  readonly name: string;
  readonly program: Program;
  readonly #sabotagePath: string;
  /** Set when the run ends it, or does something that may end it: its end is then no problem. */
  mayEnd = false;
  last: Scrape | undefined;
  #port: number | undefined;

  constructor(name: string, program: Program, sabotagePath: string) {
    this.name = name;
    this.program = program;
    this.#sabotagePath = sabotagePath;
  }

  /** Scrapes its metrics; after its end, or while it does not answer, the last ones stay. */
  async scrape(): Promise<void> {
    if (!this.program.running) return;
    this.#port ??= Number(/"port":(\d+)/.exec(this.program.stdout)?.[1]) || undefined;
    if (this.#port === undefined) return;
    const answer = await fetch(`http://127.0.0.1:${this.#port}/metrics`, {
      signal: AbortSignal.timeout(SCRAPE_TIMEOUT_MS),
    }).catch(() => undefined);
    if (answer?.ok) this.last = new Scrape(await answer.text());
  }

  /** What /readyz complains about; empty when it is ready. */
  async problems(): Promise<string> {
    if (this.#port === undefined) return "it does not serve yet";
    const answer = await fetch(`http://127.0.0.1:${this.#port}/readyz`, {
      signal: AbortSignal.timeout(SCRAPE_TIMEOUT_MS),
    });
    return answer.ok ? "" : await answer.text();
  }

  /** The sum over the series of a metric, as last scraped. */
  value(metric: string, labels: Readonly<Record<string, string>> = {}): number {
    return this.last?.value(metric, labels) ?? 0;
  }

  /** @param order see saboteur.ts; empty restores the clock */
  sabotage(order: string): void {
    writeFileSync(this.#sabotagePath, order);
  }
}

export interface FleetOptions {
  readonly env: Readonly<Record<string, string>>;
  /** Where the files of the saboteurs lie. */
  readonly directory: string;
  readonly say: (line: string) => void;
}

/** All consumer processes of a run, running or ended. */
export class Fleet implements AsyncDisposable {
  /** Processes that ended although nothing asked them to. */
  readonly unexpectedEnds: string[] = [];
  readonly #options: FleetOptions;
  readonly #consumers: FleetConsumer[] = [];
  readonly #timer: Timer;
  /** Ends that were seen. */
  readonly #ended = new Set<FleetConsumer>();
  #isClosing = false;
  /** Faults at work that may keep a program from starting. */
  #hardStarts = 0;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#watch(), SCRAPE_EVERY_MS);
  }

  /** Those that run. */
  get running(): FleetConsumer[] {
    return this.#consumers.filter(({ program }) => program.running);
  }

  start(): FleetConsumer {
    const name = `consumer ${this.#consumers.length + 1}`;
    const sabotage = join(this.#options.directory, `sabotage-${this.#consumers.length + 1}`);
    const program = Program.start("workers/consumer.ts", {
      env: { ...this.#options.env, CHAOS_SABOTAGE: sabotage, BUN_OPTIONS: `--preload ${SABOTEUR}` },
    });
    const consumer = new FleetConsumer(name, program, sabotage);
    this.#consumers.push(consumer);
    return consumer;
  }

  /** Sends a signal that ends a consumer. @returns its exit code, or 128 plus the number of the signal */
  async end(consumer: FleetConsumer, signal: "SIGTERM" | "SIGKILL"): Promise<number> {
    consumer.mayEnd = true;
    consumer.program.signal(signal);
    return consumer.program.exit(EXIT_DEADLINE_MS);
  }

  /** Starts or drains consumers until `count` run. */
  async scaleTo(count: number): Promise<void> {
    while (this.running.length < count) this.start();
    await Promise.all(this.running.slice(count).map((consumer) => this.end(consumer, "SIGTERM")));
  }

  /** From now on a program that fails to start is no problem, but started again. @returns ends that */
  allowFailedStarts(): () => void {
    this.#hardStarts++;
    return () => this.#hardStarts--;
  }

  /** Waits until some run, and all that run own partitions. */
  async allOwnPartitions(): Promise<void> {
    await eventually(
      "all consumers own partitions",
      () => {
        const owned = this.running.map((consumer) => consumer.value("consumer_assigned_partitions"));
        return owned.length > 0 && owned.every((partitions) => partitions > 0);
      },
      { timeoutMs: OWNING_DEADLINE_MS, everyMs: 100 },
    );
  }

  /** Waits until some run, and the workers of all that run have sessions. */
  async allHaveSessions(): Promise<void> {
    await eventually(
      "all consumers have sessions",
      () => {
        const sessions = this.running.map((consumer) => consumer.value("db_connections_active"));
        return sessions.length > 0 && sessions.every((open) => open > 1);
      },
      { timeoutMs: OWNING_DEADLINE_MS, everyMs: 100 },
    );
  }

  /** The sum of a metric over all consumers, those that have ended included. */
  total(metric: string, labels: Readonly<Record<string, string>> = {}): number {
    return this.#consumers.reduce((sum, consumer) => sum + consumer.value(metric, labels), 0);
  }

  /** Resyncs by cause, over all consumers. */
  resyncs(): Map<string, number> {
    const causes = new Map<string, number>();
    for (const { last } of this.#consumers) {
      for (const { labels, value } of last?.find("resyncs_total") ?? []) {
        const cause = labels["cause"]!;
        causes.set(cause, (causes.get(cause) ?? 0) + value);
      }
    }
    return causes;
  }

  /** How often all consumers have printed that. */
  timesPrinted(pattern: RegExp): number {
    const all = new RegExp(pattern.source, "g");
    return this.#consumers.reduce((sum, { program }) => sum + [...program.output.matchAll(all)].length, 0);
  }

  /** The outputs of all consumers, for a report of what went wrong. */
  outputs(): Map<string, string> {
    return new Map(this.#consumers.map(({ name, program }) => [name, program.output]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosing = true;
    clearInterval(this.#timer);
    await Promise.all(this.#consumers.map(({ program }) => program[Symbol.asyncDispose]()));
  }

  /** Scrapes everything once more. */
  async scrape(): Promise<void> {
    await Promise.all(this.running.map((consumer) => consumer.scrape()));
  }

  #watch(): void {
    void this.scrape();
    for (const consumer of this.#consumers) {
      if (consumer.program.running || this.#ended.has(consumer)) continue;
      this.#ended.add(consumer);
      if (consumer.mayEnd || this.#isClosing) continue;
      void this.#restart(consumer);
    }
  }

  async #restart({ name, program }: FleetConsumer): Promise<void> {
    const code = await program.exit();
    const last = program.output.trim().split("\n").slice(-3).join(" | ");
    const sentence = `${name} ended with ${code}: ${last.slice(0, 600)}`;
    this.#options.say(`  ${sentence}`);
    // No fault of its surroundings excuses a crash.
    if (this.#hardStarts === 0 || code >= BY_SIGNAL) this.unexpectedEnds.push(sentence);
    await Bun.sleep(RESTART_AFTER_MS);
    if (!this.#isClosing) this.start();
  }
}
