// The Kafka part of the configuration in; settings for librdkafka out.
import type { KafkaConfig } from "../config/config.ts";
import type { Settings } from "./client.ts";

type Source = Pick<KafkaConfig, "bootstrapServers" | "consumerGroup" | "passThrough">;

const CLIENT_ID = "event-pipeline";

/**
 * For KafkaConsumer. Offsets are the application's: nothing is committed, stored or reset by itself, and
 * records of aborted transactions are not seen. Pass-through properties come last.
 */
export function consumerSettings(kafka: Source): Settings {
  // KIP-848 leaves these to the broker, and librdkafka refuses a client that sets them.
  const classicGroup: Settings =
    kafka.passThrough["group.protocol"]?.toLowerCase() === "consumer"
      ? {}
      : {
          "partition.assignment.strategy": "cooperative-sticky",
          // Longer than the failover of a broker (8 to 12 s), or each of those would cost a rebalance.
          "session.timeout.ms": "45000",
          // A member learns of a rebalance with its next heartbeat: this is how long a newcomer waits, twice.
          "heartbeat.interval.ms": "1000",
        };
  return {
    ...clientSettings(kafka),
    "group.id": kafka.consumerGroup,
    ...classicGroup,
    "enable.auto.commit": "false",
    "enable.auto.offset.store": "false",
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    // When the local queue is full the fetcher sleeps this long; its default, a second, stops catching up.
    "fetch.queue.backoff.ms": "5",
    "queued.min.messages": "20000",
    "queued.max.messages.kbytes": "16384",
    ...kafka.passThrough,
  };
}

/** For KafkaProducer: idempotent, acknowledged by all replicas, and never giving up on a message. */
export function producerSettings(kafka: Source): Settings {
  return {
    ...clientSettings(kafka),
    "enable.idempotence": "true",
    acks: "all",
    // A message that timed out would be lost; while this process lives it is tried again.
    "message.timeout.ms": "0",
    "linger.ms": "5",
    // The one codec besides snappy that every build of librdkafka has.
    "compression.type": "lz4",
    // The partitioner of Java's clients and kafka-python: a key's records meet in one partition, whoever sends.
    partitioner: "murmur2_random",
    ...kafka.passThrough,
  };
}

/** For the functions of admin.ts. */
export function adminSettings(kafka: Source): Settings {
  return { ...clientSettings(kafka), ...kafka.passThrough };
}

function clientSettings(kafka: Source): Settings {
  return {
    "bootstrap.servers": kafka.bootstrapServers,
    "client.id": CLIENT_ID,
    // A broker that is back is found within a second.
    "reconnect.backoff.max.ms": "1000",
  };
}
