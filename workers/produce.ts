// A source of records in; all of them in Kafka, or a count of those that are not. The producer program and
// the demo both run this.
import { whyUnwritable } from "../shared/kafka/admin.ts";
import { KafkaError } from "../shared/kafka/kafka-error.ts";
import { KafkaProducer } from "../shared/kafka/producer.ts";
import { adminSettings, producerSettings } from "../shared/kafka/settings.ts";
import type { KafkaConfig } from "../shared/runtime/config.ts";
import { errorMessage, FatalError } from "../shared/runtime/errors.ts";
import type { StopSignal } from "../shared/runtime/lifecycle.ts";
import type { Deliveries } from "../shared/source/deliveries.ts";
import type { Pace } from "../shared/source/pace.ts";
import { publish } from "../shared/source/publish.ts";
import type { RecordSource } from "../shared/source/record-source.ts";
import type { Logger } from "../shared/telemetry/log.ts";
import { OccasionalLog } from "../shared/telemetry/occasional-log.ts";

export interface ProduceOptions {
  readonly kafka: KafkaConfig;
  readonly topic: string;
  readonly libraryPath: string;
  readonly source: RecordSource;
  readonly pace: Pace;
  /** The ledger, which the caller may read at any time. */
  readonly deliveries: Deliveries;
  readonly stop: StopSignal;
  readonly log: Logger;
  /** False = wait, the consumer is too far behind. */
  readonly gate?: () => boolean;
}

export interface ProduceOutcome {
  /** Every record that was sent has been acknowledged, and a source that ends was read to its end. */
  readonly complete: boolean;
  readonly ended: "source_ended" | "stopped";
  readonly sent: number;
  readonly acknowledged: number;
  readonly failed: number;
  /** Not acknowledged when the time for it was over. */
  readonly outstanding: number;
}

const FLUSH_DEADLINE_MS = 30_000;
/** With nothing acknowledged this long after the first record, the topic cannot be written. */
const FIRST_ACKNOWLEDGEMENT_MS = 20_000;
const WATCH_MS = 250;
const EXPLANATION_MS = 3000;

/** Refusals that are about one record: it is too large, or librdkafka cannot take it as it is. */
const RECORD_FAULTS = new Set([10, -186]);
/** TOPIC_AUTHORIZATION_FAILED and CLUSTER_AUTHORIZATION_FAILED. */
const AUTHORIZATION_FAILED = new Set([29, 31]);

/**
 * Publishes until the source ends or a stop is requested, then waits for what is outstanding.
 * @throws FatalError when the topic cannot be written or the client gives up; what was sent is flushed first
 */
export async function produce(options: ProduceOptions): Promise<ProduceOutcome> {
  const { kafka, topic, libraryPath, deliveries, log } = options;
  const trouble = new OccasionalLog(log);
  const watch = new Watch(options);
  const producer = await KafkaProducer.open({
    libraryPath,
    settings: producerSettings(kafka),
    topic,
    onWake: () => producer.poll(),
    onDelivered: (opaque) => deliveries.onDelivered(opaque),
    onFailed: (failure) => {
      deliveries.onFailed(failure);
      trouble.warn(`not delivered: ${failure.message}`, { code: failure.code }, failure.count);
    },
    onError: ({ fatal, name, message }) => {
      if (fatal) watch.giveUp(new FatalError(`the Kafka client gave up (${name}): ${message}`));
      else trouble.warn(message, { code: name });
    },
    onLog: ({ level, facility, message }) => log.debug({ facility, level }, message),
  });
  try {
    watch.start();
    const ended = await publish({
      ...options,
      sink: producer,
      stop: watch.stop,
      isRecordAtFault: (error) => isRecordAtFault(error, trouble),
    }).catch((error: unknown) => watch.giveUp(asFatal(error, topic)));
    if (watch.fatal === undefined) {
      const { reason } = watch.stop;
      log.info({ outstanding: deliveries.outstanding, reason }, "waiting for the last acknowledgements");
      await producer.flush(FLUSH_DEADLINE_MS);
    }
    watch.end();
    trouble.flush();
    if (watch.fatal !== undefined) throw watch.fatal;
    return outcome(deliveries, ended ?? "stopped", options);
  } finally {
    watch.end();
    // Gives up what is outstanding, which would then count as failed: the outcome is taken before.
    await producer.close();
  }
}
