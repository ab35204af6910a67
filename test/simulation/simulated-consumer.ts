// Runs one partition worker, the real class, as a process that a fault can stop, kill or drain.

import type { Logger } from "../../shared/telemetry/log.ts";
import { ThreadRecorder } from "../../shared/telemetry/recorder.ts";
import type { DatabasePort, KafkaPort } from "../../workers/consumer/ports.ts";
import { PartitionWorker } from "../../workers/consumer/partition-worker.ts";
import { errorMessage } from "../../shared/runtime/errors.ts";
import type { OperatingSystemProcess } from "./operating-system-process.ts";
import { ProcessClock } from "./process-clock.ts";
import { ObservedTelemetry } from "./observed-telemetry.ts";
import type { Trace } from "./trace.ts";
import { VirtualNotifier } from "./virtual-notifier.ts";
import type { WorkerObserver } from "./worker-observer.ts";

export interface ConsumerOptions {
  readonly process: OperatingSystemProcess;
  readonly trace: Trace;
  readonly observer: WorkerObserver;
  readonly topics: readonly string[];
  readonly consumerGroup: string;
  readonly batchSize: number;
  readonly saveRawEvents: boolean;
  readonly database: DatabasePort;
  readonly joinGroup: (onWake: () => void) => KafkaPort;
}

export class SimulatedConsumer {
  readonly process: OperatingSystemProcess;
  readonly worker: PartitionWorker;
  readonly notifier: VirtualNotifier;
  readonly clock: ProcessClock;
  /** Why the worker ended, if it has ended by itself. */
  failure: string | undefined;
  hasEnded = false;

  constructor(options: ConsumerOptions) {
    const { process, trace, observer, topics, consumerGroup, batchSize, saveRawEvents, database, joinGroup } =
      options;
    this.process = process;
    this.notifier = new VirtualNotifier(process);
    this.clock = new ProcessClock(process);
    this.worker = new PartitionWorker(
      {
        kafka: joinGroup(() => this.notifier.notify()),
        database,
        clock: this.clock,
        notifier: this.notifier,
      },
      { topics, consumerGroup, batchSize, saveRawEvents, maxFutureSkewMs: 86_400_000 },
      new ObservedTelemetry(new ThreadRecorder(), logInto(trace, process.name), observer),
      () => undefined,
    );
    this.worker.run().then(
      () => {
        this.hasEnded = true;
        trace.note(process.name, "drained");
      },
      (error: unknown) => {
        this.hasEnded = true;
        this.failure = errorMessage(error);
        trace.note(process.name, `ended: ${this.failure}`);
      },
    );
  }

  get isAlive(): boolean {
    return !this.hasEnded && this.process.state !== "killed";
  }
}

function logInto(trace: Trace, name: string): Logger {
  const write = (_fields: unknown, text: string): void => trace.note(name, text);
  return { info: write, warn: write, error: write, debug: write } as unknown as Logger;
}
