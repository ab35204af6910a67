// Describes the machine and the versions in use, so that figures can be compared.
import { availableParallelism, cpus, totalmem } from "node:os";
import { type Static, Type } from "typebox";
import { loadLibrary } from "../shared/kafka/ffi/load-library.ts";
import { KAFKA_VERSION } from "../test/support/kafka-artifacts.ts";
import type { Bench } from "./bench.ts";
import { Rate, closed } from "./shapes.ts";

export const MachineShape = Type.Object(
  {
    cpu: Type.String(),
    cores: Type.Integer({ minimum: 1 }),
    memoryGiB: Rate,
    bun: Type.String(),
    librdkafka: Type.String(),
    postgres: Type.String(),
    kafka: Type.String(),
  },
  closed,
);
export type Machine = Static<typeof MachineShape>;

export async function machineOf(bench: Bench): Promise<Machine> {
  return {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    memoryGiB: Math.round((totalmem() / 2 ** 30) * 10) / 10,
    bun: Bun.version,
    librdkafka: loadLibrary().version,
    postgres: await bench.postgresVersion(),
    kafka: KAFKA_VERSION,
  };
}
