// Describes the machine and the versions in use, so that figures can be compared.
import { availableParallelism, cpus, totalmem } from "node:os";
import { loadLibrary } from "../shared/kafka/ffi/load-library.ts";
import { KAFKA_VERSION } from "../test/support/kafka-artifacts.ts";
import type { Bench } from "./bench.ts";
import type { Machine } from "./report.ts";

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
