// Reports the versions in use as `pipeline_build_info`.

import { PROGRAM_VERSION } from "../runtime/version.ts";
import type { Recorder } from "./recorder.ts";

export function setBuildInfo(metrics: Recorder, librdkafkaVersion: string): void {
  metrics.set("pipeline_build_info", 1, PROGRAM_VERSION, librdkafkaVersion);
}
