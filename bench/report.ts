// Defines what `bun run bench --json` prints, and writes it for a person.
import { type Static, Type } from "typebox";
import { MachineShape } from "./machine.ts";
import type { Scenario } from "./scenario.ts";
import { SCENARIO_NAMES, SCENARIOS } from "./scenarios.ts";
import { closed } from "./shapes.ts";

/** The machine, and one key for each scenario that ran. */
export const BenchReportShape = Type.Object(
  {
    machine: MachineShape,
    drain: Type.Optional(SCENARIOS.drain.shape),
    peer: Type.Optional(SCENARIOS.peer.shape),
    pinned: Type.Optional(SCENARIOS.pinned.shape),
    producer: Type.Optional(SCENARIOS.producer.shape),
    latency: Type.Optional(SCENARIOS.latency.shape),
    idle: Type.Optional(SCENARIOS.idle.shape),
    growth: Type.Optional(SCENARIOS.growth.shape),
    settings: Type.Optional(SCENARIOS.settings.shape),
    soak: Type.Optional(SCENARIOS.soak.shape),
    forms: Type.Optional(SCENARIOS.forms.shape),
    duplicates: Type.Optional(SCENARIOS.duplicates.shape),
    hostile: Type.Optional(SCENARIOS.hostile.shape),
    rebalance: Type.Optional(SCENARIOS.rebalance.shape),
    rebuild: Type.Optional(SCENARIOS.rebuild.shape),
    rewind: Type.Optional(SCENARIOS.rewind.shape),
    retention: Type.Optional(SCENARIOS.retention.shape),
    letters: Type.Optional(SCENARIOS.letters.shape),
    stages: Type.Optional(SCENARIOS.stages.shape),
  },
  closed,
);
export type BenchReport = Static<typeof BenchReportShape>;

/** @returns the machine in one line, then each scenario that ran */
export function formatReport(report: BenchReport): string[] {
  const { cpu, cores, memoryGiB, bun, librdkafka, postgres, kafka } = report.machine;
  return [
    `${cpu}, ${cores} cores, ${memoryGiB} GiB; Bun ${bun}, librdkafka ${librdkafka}, PostgreSQL ${postgres}, ` +
      `Kafka ${kafka}, all on this machine`,
    ...SCENARIO_NAMES.flatMap((name) => {
      const scenario: Scenario = SCENARIOS[name];
      return report[name] === undefined ? [] : scenario.lines(report[name]);
    }),
  ];
}
