// Runs a Kafka producer until its source ends or a stop is requested. The producer program and the demo use it.
import { maxMessageBytes } from "../../shared/kafka/admin.ts";
import { whyUnwritable } from "../../shared/kafka/unwritable-reason.ts";
import { errorKind } from "../../shared/kafka/error-codes.ts";
import { KafkaError } from "../../shared/kafka/kafka-error.ts";
import { KafkaProducer } from "../../shared/kafka/producer.ts";
import { adminSettings, producerSettings } from "../../shared/kafka/settings.ts";
import type { KafkaConfig } from "../../shared/config/config.ts";
import { errorMessage, FatalError } from "../../shared/runtime/errors.ts";
import { StopSignal } from "../../shared/runtime/stop-signal.ts";
import type { DeliveryLedger } from "../../shared/producer/delivery-ledger.ts";
import type { RateLimiter } from "../../shared/producer/rate-limiter.ts";
import { publishLoop } from "../../shared/producer/publish-loop.ts";
import type { RecordSource } from "../../shared/producer/record-source.ts";
import type { Logger } from "../../shared/telemetry/log.ts";
import { RateLimitedLog } from "../../shared/telemetry/rate-limited-log.ts";
import { FIRST_ACKNOWLEDGEMENT_MS, isFirstAcknowledgementOverdue } from "./health.ts";

export interface ProducerRunOptions {
  readonly kafka: KafkaConfig;
  readonly topic: string;
  readonly source: RecordSource;
  readonly limiter: RateLimiter;
  /** The caller may read it at any time. */
  readonly ledger: DeliveryLedger;
  readonly stop: StopSignal;
  readonly log: Logger;
  /** False: wait, because the consumer is too far behind. */
  readonly gate?: () => boolean;
}

export const FLUSH_DEADLINE_MS = 30_000;
const WATCH_MS = 250;
const EXPLANATION_MS = 3000;

/**
 * Publishes until the source ends or a stop is requested, then waits up to 30 s for the outstanding records.
 * `ledger` counts what became of the records.
 * @returns how it ended
 * @throws FatalError when the topic cannot be written or the client gives up
 */
export async function runProducer(options: ProducerRunOptions): Promise<"source_ended" | "stopped"> {
  const { kafka, topic, ledger, log } = options;
  const warnings = new RateLimitedLog(log);
  const stop = new StopSignal();
  void options.stop.requested.then((reason) => stop.request(reason));
  const { promise: gaveUp, reject } = Promise.withResolvers<never>();
  gaveUp.catch(() => undefined); // it may reject after the last wait for it
  const giveUp = (error: Error): void => {
    reject(error);
    stop.request("failure");
  };
  let closing = false;
  const producer = await KafkaProducer.open({
    settings: producerSettings(kafka, await topicLimit(options)),
    topic,
    onWake: () => producer.poll(),
    onDelivered: (opaque) => ledger.onDelivered(opaque),
    onFailed(failure) {
      // Closing the client reports the outstanding records as failed. They stay outstanding.
      if (closing) return;
      ledger.onFailed(failure);
      warnings.warn(`not delivered: ${failure.message}`, { code: failure.code }, failure.count);
      if (ledger.acknowledged === 0 && errorKind(failure.code) === "authorization") {
        giveUp(new FatalError(`topic ${topic} cannot be written: ${failure.message}`));
      }
    },
    onError({ fatal, code, name, message }) {
      warnings.warn(message, { code: name }, 1, name);
      if (!fatal) return;
      // An idempotent producer that may not write is refused before its first record.
      const what =
        errorKind(code) === "authorization" ? `topic ${topic} cannot be written` : "the Kafka client gave up";
      giveUp(new FatalError(`${what}: ${message}`));
    },
    onLog: ({ level, facility, message }) => log.debug({ facility, level }, message),
  });
  const published = publishLoop({
    ...options,
    stop,
    sink: producer,
    isRecordAtFault(error) {
      if (!(error instanceof KafkaError) || error.kind !== "record") return false;
      warnings.warn(error.message, { code: error.code });
      return true;
    },
  });
  const unwatch = watchFirstAcknowledgement(ledger, async () => giveUp(await notAcknowledged(options)));
  try {
    try {
      return await Promise.race([gaveUp, published]);
    } finally {
      // Also where the input is damaged or the topic is gone: what was read before is delivered.
      log.info({ outstanding: ledger.outstanding }, "waiting for the last acknowledgements");
      await Promise.race([gaveUp, producer.flush(FLUSH_DEADLINE_MS)]);
    }
  } catch (error) {
    if (!(error instanceof KafkaError)) throw error;
    // Not the fault of one record: the topic or its partitions are gone.
    throw new FatalError(`topic ${topic} cannot be written any more: ${error.message}`);
  } finally {
    unwatch();
    stop.request("closing");
    await published.catch(() => undefined);
    closing = true;
    warnings.flush();
    await producer.close();
  }
}

/** The topic's max.message.bytes; undefined where this user may not read it, or the broker does not tell. */
async function topicLimit({ kafka, topic, log }: ProducerRunOptions): Promise<number | undefined> {
  try {
    return await maxMessageBytes(adminSettings(kafka), topic, EXPLANATION_MS);
  } catch (error) {
    log.info(
      `max.message.bytes of ${topic} is not known, so Kafka's default is assumed: ${errorMessage(error)}`,
    );
    return undefined;
  }
}

/** Calls back once if the first acknowledgement is overdue. @returns a function that ends the watch */
function watchFirstAcknowledgement(ledger: DeliveryLedger, onOverdue: () => Promise<void>): () => void {
  const timer = setInterval(() => {
    const isOverdue = isFirstAcknowledgementOverdue(ledger, performance.now());
    if (isOverdue || ledger.acknowledged > 0) clearInterval(timer);
    if (isOverdue) void onOverdue();
  }, WATCH_MS);
  return () => clearInterval(timer);
}

/** The reason why nothing was acknowledged, as far as the brokers can tell. */
async function notAcknowledged({ kafka, topic, ledger }: ProducerRunOptions): Promise<FatalError> {
  const reasons = await whyUnwritable({
    settings: adminSettings(kafka),
    topics: [topic],
    deadlineMs: EXPLANATION_MS,
  }).catch((error: unknown) => [errorMessage(error)]);
  if (ledger.lastFailure !== undefined) reasons.push(ledger.lastFailure.message);
  const why = reasons.length === 0 ? "the brokers give no reason" : reasons.join("; ");
  return new FatalError(
    `topic ${topic} cannot be written: no record was acknowledged within ${FIRST_ACKNOWLEDGEMENT_MS / 1000} s (${why})`,
  );
}
