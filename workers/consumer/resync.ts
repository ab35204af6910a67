// Why a worker has to read its offsets again, where no error of the database says so.

import type { ResyncCause } from "../../shared/telemetry/worker-telemetry.ts";

export class ResyncNeeded extends Error {
  override readonly name = "ResyncNeeded";
  readonly resyncCause: ResyncCause;

  constructor(cause: ResyncCause, message: string) {
    super(message);
    this.resyncCause = cause;
  }
}
