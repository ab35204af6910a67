// Connects a partition worker to librdkafka and PostgreSQL.

import type { Config } from "../../shared/config/config.ts";
import { KafkaConsumer } from "../../shared/kafka/consumer.ts";
import { consumerSettings } from "../../shared/kafka/settings.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { Notifier } from "../../shared/runtime/notifier.ts";
import type { WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";
import { PartitionWorker } from "./partition-worker.ts";
import { makePostgresPort } from "./postgres-port.ts";

/**
 * Joins the group.
 * @param onCommitted called after each answered COMMIT, when the telemetry has moved
 * @param onTopicRecreated called when another worker has to take this one's place, see `ConsumerOptions`
 * @throws ConfigurationError for Kafka properties that librdkafka refuses
 */
export async function openPartitionWorker(
  { kafka, database, consumer }: Config,
  topicsWithoutId: readonly string[],
  worker: number,
  telemetry: WorkerTelemetry,
  onCommitted: () => void,
  onTopicRecreated: (topic: string) => void,
): Promise<PartitionWorker> {
  const { topics, consumerGroup } = kafka;
  const notifier = new Notifier();
  const member = await KafkaConsumer.open({
    settings: consumerSettings(kafka, worker),
    topics,
    topicsWithoutId,
    onWake: () => notifier.notify(),
    onTopicRecreated,
  });
  return new PartitionWorker(
    {
      kafka: member,
      database: makePostgresPort({
        database,
        consumerGroup,
        store: {
          saveRawEvents: consumer.saveRawEvents,
          copyRawEvents: consumer.copyRawEvents,
          hourGraceMs: consumer.hourGraceMinutes * 60_000,
        },
      }),
      clock: systemClock,
      notifier,
    },
    {
      topics,
      consumerGroup,
      batchSize: consumer.batchSize,
      saveRawEvents: consumer.saveRawEvents,
      maxFutureSkewMs: consumer.maxFutureSkewSeconds * 1000,
      deadLetterLimit: consumer.deadLetterLimit,
    },
    telemetry,
    onCommitted,
  );
}
