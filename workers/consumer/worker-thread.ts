// Runs a PartitionWorker in a thread, and reports its metrics and state to the main thread.

import { errorMessage } from "../../shared/runtime/errors.ts";
import { WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";
import { makeLogger } from "../../shared/telemetry/log.ts";
import { ThreadRecorder } from "../../shared/telemetry/recorder.ts";
import { HEARTBEAT_MS } from "./heartbeat.ts";
import type { WorkerCommand, WorkerReport } from "./thread-messages.ts";
import { openPartitionWorker } from "./open-partition-worker.ts";
import type { PartitionWorker } from "./partition-worker.ts";

declare const self: Worker;

const REPORT_INTERVAL_MS = 250;

let worker: PartitionWorker | undefined;
let isDrainRequested = false;

self.addEventListener("message", ({ data }: MessageEvent<WorkerCommand>) => {
  switch (data.kind) {
    case "start":
      void start(data);
      break;
    case "rejoin":
      worker?.rejoin();
      break;
    case "drain":
      isDrainRequested = true;
      worker?.drain();
      break;
  }
});

function post(report: WorkerReport): void {
  self.postMessage(report);
}

async function start({
  worker: number,
  config,
  topicsWithoutId,
}: WorkerCommand & { kind: "start" }): Promise<void> {
  const log = makeLogger("consumer", config.logLevel, { bindings: { worker: number } });
  const recorder = new ThreadRecorder();
  let lastStatus = "";
  let reportedAtMs = -Infinity;
  const report = (): void => {
    const recording = recorder.take();
    const status = worker?.status();
    const text = JSON.stringify(status);
    const isNew = text !== lastStatus;
    lastStatus = text;
    const now = performance.now();
    if (recording !== undefined || isNew || now - reportedAtMs >= HEARTBEAT_MS) {
      reportedAtMs = now;
      post({ kind: "report", recording, status: isNew ? status : undefined });
    }
  };
  const timer = setInterval(report, REPORT_INTERVAL_MS);
  const telemetry = new WorkerTelemetry(recorder, log);
  /** @returns true when another worker has to take its place */
  const runWorker = async (): Promise<boolean> => {
    let recreated: string | undefined;
    worker = await openPartitionWorker(config, topicsWithoutId, number, telemetry, report, (topic) => {
      recreated ??= topic;
      worker?.drain();
    });
    if (isDrainRequested) worker.drain();
    try {
      await worker.run();
    } catch (error) {
      // What a drain could not commit is read again by the next worker.
      if (recreated === undefined || isDrainRequested) throw error;
    }
    if (recreated === undefined || isDrainRequested) return false;
    log.warn(
      { topic: recreated },
      `topic ${recreated} was created again: opening another Kafka client for it`,
    );
    telemetry.leftGroup(worker.status().partitions);
    return true;
  };
  let failure: string | undefined;
  try {
    while (await runWorker());
  } catch (error) {
    failure = errorMessage(error);
    log.error({ err: error }, "this worker has failed");
  } finally {
    clearInterval(timer);
    report();
    post({ kind: "ended", failure });
  }
}
