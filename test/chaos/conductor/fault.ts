// Defines what a fault of a chaos run is: how it is injected, proven to have bitten, and healed.
import type { SeededChoices } from "../../support/seeded-random.ts";
import type { ChaosCluster } from "./cluster.ts";
import type { Journal } from "./journal.ts";

/** What a fault breaks. Faults that run at the same time share none of these. */
export type Part = "consumers" | "load" | "brokers" | "edge topic" | "postgres" | "network" | "clock";

/** A fault that has been injected. */
export interface Injected {
  /** How long it lasts at least, ms. */
  readonly holdMs: number;
  /**
   * The evidence that it reached its victim, in words; undefined or empty while there is none. Asked again and again,
   * also after it was healed. It may throw while its source does not answer.
   */
  readonly hasBitten: () => Promise<string | undefined>;
  /** Set where the evidence appears only when the fault is over. */
  readonly bitesAfterwards?: boolean;
  /** Ends the fault; returns when the victim has what it needs to go on. */
  readonly heal: () => Promise<void>;
}

/** What a fault works with. */
export interface FaultContext {
  readonly cluster: ChaosCluster;
  readonly journal: Journal;
  readonly choices: SeededChoices;
}

export interface Fault {
  /** Stable, with dashes: `--fault` takes it. */
  readonly name: string;
  /** One line for `--list`. */
  readonly about: string;
  readonly parts: readonly Part[];
  /** What decides how long the flow needs after the fault: a setting with its value. */
  readonly ruledBy: string;
  /** About how long it takes from injection to its end, seconds; a short run leaves out long faults. */
  readonly seconds: number;
  /** Why it cannot be injected here; undefined where it can. */
  readonly whyNot?: (cluster: ChaosCluster) => string | undefined;
  readonly inject: (context: FaultContext) => Promise<Injected>;
}
