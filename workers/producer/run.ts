// A source of records in; all of them in Kafka, or a count of those that are not. The producer program and
// the demo both run this.
import { whyUnwritable } from "../../shared/kafka/admin.ts";
import { KafkaError } from "../../shared/kafka/kafka-error.ts";
import { KafkaProducer } from "../../shared/kafka/producer.ts";
import { adminSettings, producerSettings } from "../../shared/kafka/settings.ts";
import type { KafkaConfig } from "../../shared/config/config.ts";
import { errorMessage, FatalError } from "../../shared/runtime/errors.ts";
import { StopSignal } from "../../shared/runtime/stop-signal.ts";
import type { DeliveryLedger } from "../../shared/producer/delivery-ledger.ts";
import type { Pace } from "../../shared/producer/rate-limiter.ts";
import { publish } from "../../shared/producer/publish-loop.ts";
import type { RecordSource } from "../../shared/producer/record-source.ts";
import type { Logger } from "../../shared/telemetry/log.ts";
import { RateLimitedLog } from "../../shared/telemetry/rate-limited-log.ts";
import { FIRST_ACKNOWLEDGEMENT_MS, isFirstAcknowledgementOverdue } from "./health.ts";

export interface ProduceOptions {
  readonly kafka: KafkaConfig;
  readonly topic: string;
  readonly source: RecordSource;
  readonly pace: Pace;
  /** The ledger: the caller reads it while this runs, and afterwards. */
  readonly deliveries: DeliveryLedger;
  readonly stop: StopSignal;
  readonly log: Logger;
  /** False = wait, the consumer is too far behind. */
  readonly gate?: () => boolean;
}

export const FLUSH_DEADLINE_MS = 30_000;
const WATCH_MS = 250;
const EXPLANATION_MS = 3000;

/** Refusals that are about one record: it is too large, or librdkafka cannot take it as it is. */
const RECORD_FAULTS: ReadonlySet<number> = new Set([10, -186]);
/** TOPIC_AUTHORIZATION_FAILED and CLUSTER_AUTHORIZATION_FAILED: no waiting helps. */
const AUTHORIZATION_FAILED: ReadonlySet<number> = new Set([29, 31]);

/**
 * Publishes until the source ends or a stop is requested, then waits up to 30 s for what is outstanding.
 * What became of the records is in `deliveries`.
 * @returns how it ended
 * @throws FatalError when the topic cannot be written or the client gives up
 */
export async function runProducer(options: ProduceOptions): Promise<"source_ended" | "stopped"> {
  const { kafka, topic, deliveries, log } = options;
  const trouble = new RateLimitedLog(log);
  const stop = new StopSignal();
  void options.stop.requested.then((reason) => stop.request(reason));
  const { promise: gaveUp, reject } = Promise.withResolvers<never>();
  gaveUp.catch(() => undefined); // where nobody waits for it any more
  const giveUp = (error: Error): void => {
    reject(error);
    stop.request("failure");
  };
  let closing = false;
  const producer = await KafkaProducer.open({
    settings: producerSettings(kafka),
    topic,
    onWake: () => producer.poll(),
    onDelivered: (opaque) => deliveries.onDelivered(opaque),
    onFailed(failure) {
      // What is outstanding at the end comes back as failed when the client is closed; it is outstanding.
      if (closing) return;
      deliveries.onFailed(failure);
      trouble.warn(`not delivered: ${failure.message}`, { code: failure.code }, failure.count);
      if (deliveries.acknowledged === 0 && AUTHORIZATION_FAILED.has(failure.code)) {
        giveUp(new FatalError(`topic ${topic} cannot be written: ${failure.message}`));
      }
    },
    onError({ fatal, code, name, message }) {
      trouble.warn(message, { code: name }, 1, name);
      if (!fatal) return;
      // Without the right to write, an idempotent producer is refused before its first record.
      const what = AUTHORIZATION_FAILED.has(code)
        ? `topic ${topic} cannot be written`
        : "the Kafka client gave up";
      giveUp(new FatalError(`${what}: ${message}`));
    },
    onLog: ({ level, facility, message }) => log.debug({ facility, level }, message),
  });
  const published = publish({
    ...options,
    stop,
    sink: producer,
    isRecordAtFault(error) {
      if (!(error instanceof KafkaError) || !RECORD_FAULTS.has(error.code)) return false;
      trouble.warn(error.message, { code: error.code });
      return true;
    },
  });
  const unwatch = watchFirstAcknowledgement(deliveries, async () => giveUp(await notAcknowledged(options)));
  try {
    const ended = await Promise.race([gaveUp, published]);
    log.info({ outstanding: deliveries.outstanding }, "waiting for the last acknowledgements");
    await Promise.race([gaveUp, producer.flush(FLUSH_DEADLINE_MS)]);
    return ended;
  } catch (error) {
    if (!(error instanceof KafkaError)) throw error;
    // Refused for more than its own sake: the topic is gone, or its partitions are.
    await producer.flush(FLUSH_DEADLINE_MS);
    throw new FatalError(`topic ${topic} cannot be written any more: ${error.message}`);
  } finally {
    unwatch();
    stop.request("closing");
    await published.catch(() => undefined);
    closing = true;
    trouble.flush();
    await producer.close();
  }
}

/** Calls back once if the first acknowledgement is overdue. @returns ends the watch */
function watchFirstAcknowledgement(deliveries: DeliveryLedger, onOverdue: () => Promise<void>): () => void {
  const timer = setInterval(() => {
    const isOverdue = isFirstAcknowledgementOverdue(deliveries, performance.now());
    if (isOverdue || deliveries.acknowledged > 0) clearInterval(timer);
    if (isOverdue) void onOverdue();
  }, WATCH_MS);
  return () => clearInterval(timer);
}

/** One sentence that says as much as the brokers can tell. */
async function notAcknowledged({ kafka, topic, deliveries }: ProduceOptions): Promise<FatalError> {
  const reasons = await whyUnwritable({
    settings: adminSettings(kafka),
    topics: [topic],
    deadlineMs: EXPLANATION_MS,
  }).catch((error: unknown) => [errorMessage(error)]);
  if (deliveries.lastFailure !== undefined) reasons.push(deliveries.lastFailure.message);
  const why = reasons.length === 0 ? "the brokers give no reason" : reasons.join("; ");
  return new FatalError(
    `topic ${topic} cannot be written: no record was acknowledged within ${FIRST_ACKNOWLEDGEMENT_MS / 1000} s (${why})`,
  );
}
