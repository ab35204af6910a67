// Faults of the operating system's clock, as the consumers see it.
import type { Fault } from "../fault.ts";

const HOUR_MS = 3_600_000;
const HOLD_MS = 6000;

/** The flow must go on meanwhile: the consumers measure by the monotonic clock, and judge events by the database's. */
function clock(name: string, about: string, order: string): Fault {
  return {
    name,
    about,
    parts: ["clock", "consumers"],
    ruledBy: "nothing: the consumers do not notice",
    seconds: 8,
    inject: async ({ cluster: { fleet } }) => {
      const victims = fleet.running;
      const said = fleet.timesPrinted(/sabotage: the clock says/);
      const consumed = fleet.total("events_consumed_total");
      for (const victim of victims) victim.sabotage(order);
      return {
        holdMs: HOLD_MS,
        hasBitten: async () => {
          const changed = fleet.timesPrinted(/sabotage: the clock says/) - said;
          const more = fleet.total("events_consumed_total") - consumed;
          return changed >= victims.length && more > 0
            ? `the clocks of ${changed} processes are wrong, and ${more} records were stored meanwhile`
            : undefined;
        },
        heal: async () => {
          for (const victim of victims) victim.sabotage("");
        },
      };
    },
  };
}

export const CLOCK_FAULTS: readonly Fault[] = [
  clock("clock-forth", "the consumers' clock jumps an hour forth, and back", `clock 1 ${HOUR_MS}`),
  clock("clock-back", "the consumers' clock jumps an hour back, and forth", `clock 1 ${-HOUR_MS}`),
  clock("clock-stopped", "the consumers' clock stands still", "clock 0 0"),
];
