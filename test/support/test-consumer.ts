// Asks a running consumer program for its metrics and what its workers own, and drains it.
import { type Scrape, scrape } from "./metrics-text.ts";
import type { Program } from "./process.ts";

/** A running consumer. */
export class TestConsumer implements AsyncDisposable {
  readonly program: Program;
  #port: Promise<number> | undefined;

  constructor(program: Program) {
    this.program = program;
  }

  /** Where it serves. */
  port(): Promise<number> {
    this.#port ??= this.program.port();
    return this.#port;
  }

  async scrape(): Promise<Scrape> {
    return scrape(await this.port());
  }

  /** The sum over all series of a metric. */
  async total(metric: string): Promise<number> {
    return (await this.scrape()).value(metric) ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.program[Symbol.asyncDispose]();
  }

  /** How many partitions each of its workers owns, as its log last reported. */
  get ownedByWorker(): ReadonlyMap<string, number> {
    const lines = this.program.stdout.matchAll(/"worker":(\d+).*"owned":(\d+)/g);
    return new Map([...lines].map(([, worker, owned]) => [worker!, Number(owned)]));
  }

  /** Asks it to drain. @throws unless it ends with 0 */
  async drain(): Promise<void> {
    this.program.signal("SIGTERM");
    const code = await this.program.exit(60_000);
    if (code !== 0) throw new Error(`the consumer ended with ${code}\n${this.program.output}`);
  }
}
