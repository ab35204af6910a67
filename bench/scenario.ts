// What each scenario of the bench provides.
import type { Static, TSchema } from "typebox";
import type { Bench } from "./bench.ts";
import type { RoundOptions } from "./rounds.ts";

export interface ScenarioOptions extends RoundOptions {
  /** Events of a round, or as the scenario says; undefined: its default. */
  readonly events: number | undefined;
  /** The size to which a scenario lets a table grow; undefined: its default. */
  readonly rows: number | undefined;
  /** How long a scenario takes that has a length; undefined: its default. */
  readonly seconds: number | undefined;
  /** The events/s of a drain in this run: of the scenario `drain`, or of one round that is made for it. */
  readonly maximum: () => Promise<number>;
}

/** One scenario of `bun run bench`. */
export interface Scenario<Shape extends TSchema = TSchema> {
  /** What it measures, for `--help`. */
  readonly about: string;
  /** Of its result in the JSON. */
  readonly shape: Shape;
  /** @throws Error when what is stored is not what was published */
  run(bench: Bench, options: ScenarioOptions): Promise<Static<Shape>>;
  /** Its result for a person. */
  lines(result: Static<Shape>): string[];
}
