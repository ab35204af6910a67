// Faults of the producer.
import type { Fault } from "../fault.ts";

export const LOAD_FAULTS: readonly Fault[] = [
  {
    name: "producer-sigkill",
    about: "the producer is killed with records in flight, and another one starts",
    parts: ["load"],
    ruledBy: "nothing: the consumers do not notice",
    seconds: 3,
    inject: async ({ cluster: { load }, choices }) => {
      const pid = await load.kill();
      return {
        holdMs: choices.below(2000),
        hasBitten: async () => `process ${pid} is gone`,
        heal: async () => {
          load.start();
          await load.flows(100, 30_000);
        },
      };
    },
  },
];
