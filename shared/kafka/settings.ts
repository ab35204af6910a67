// Translates the configuration into settings for librdkafka.
import type { KafkaConfig } from "../config/config.ts";
import type { Settings } from "./client.ts";

const INSTANCE_ID = "group.instance.id";

type Source = Pick<KafkaConfig, "bootstrapServers" | "consumerGroup" | "passThrough">;

const CLIENT_ID = "event-pipeline";

/**
 * For KafkaConsumer. The database owns the offsets: librdkafka commits, stores and resets none. Records of aborted
 * transactions are not seen. Pass-through properties come last.
 * @param worker the number of the worker: each is a member of the group, so a static one needs an id of its own
 */
export function consumerSettings(kafka: Source, worker = 0): Settings {
  const instanceId = kafka.passThrough[INSTANCE_ID];
  // Under KIP-848 the broker decides these, and librdkafka refuses a client that sets them.
  const classicGroup: Settings = isConsumerProtocol(kafka.passThrough)
    ? {}
    : {
        "partition.assignment.strategy": "cooperative-sticky",
        // Longer than the failover of a broker (8 to 12 s), or each failover would cost a rebalance.
        "session.timeout.ms": "45000",
        // A member learns of a rebalance with its next heartbeat; a new member waits for two of these.
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
    // A full local queue makes the fetcher sleep this long; the default of 1 s makes catching up 5 to 10 times slower.
    "fetch.queue.backoff.ms": "5",
    // A fetch may ask for partitions without new records only, and the others wait until it is answered: 500 ms by
    // default. At 50 a full topic is drained 1.2 times as fast; the price is 20 small requests a second when idle.
    "fetch.wait.max.ms": "50",
    // The memory of librdkafka's queue. It counts neither keys nor headers, so few records may wait when it fetches
    // again, and a fetch is small: one of 1 MiB is 5,000 to 20,000 ordinary events, or 255 MiB of zeros in lz4.
    "queued.min.messages": "100",
    "queued.max.messages.kbytes": "16384",
    "fetch.max.bytes": "1048576",
    ...kafka.passThrough,
    ...(instanceId === undefined ? {} : { [INSTANCE_ID]: `${instanceId}-${worker}` }),
  };
}

/**
 * True where a member keeps its place in the group until its session ends, also when it closes: it has an id, and its
 * successor takes the place over. Under KIP-848 such a member tells the group that it comes back.
 */
export function keepsPlace(settings: Settings): boolean {
  return settings[INSTANCE_ID] !== undefined && !isConsumerProtocol(settings);
}

function isConsumerProtocol(settings: Settings): boolean {
  return settings["group.protocol"]?.toLowerCase() === "consumer";
}

/** Kafka's default for a topic's max.message.bytes. */
const MAX_MESSAGE_BYTES = 1_048_588;
const MESSAGE_MAX_BYTES = "message.max.bytes";
const BATCH_BYTES = 1_000_000;
/** Records that are not acknowledged yet, all partitions together. librdkafka's default is 1 GiB. */
const QUEUE_KIB = 65_536;
/** What a record takes in its batch besides its value: the batch's header, its own, and the key. */
const OVERHEAD_BYTES = 4096;

/**
 * For KafkaProducer: idempotent, acknowledged by all replicas in sync, and without a limit to retries.
 * @param topicBytes the topic's max.message.bytes, the size of the largest batch that it takes
 */
export function producerSettings(kafka: Source, topicBytes = MAX_MESSAGE_BYTES): Settings {
  // The topic's limit is one of compressed batches, so a larger record may pass. One that the consumer accepts is tried.
  const largestBytes = Math.max(topicBytes, MAX_MESSAGE_BYTES) + OVERHEAD_BYTES;
  const allowedKib = Math.ceil(Number(kafka.passThrough[MESSAGE_MAX_BYTES] ?? largestBytes) / 1024);
  return {
    ...clientSettings(kafka),
    "enable.idempotence": "true",
    acks: "all",
    // A message that times out is lost; without a timeout it is retried while this process lives.
    "message.timeout.ms": "0",
    "linger.ms": "5",
    // Every build of librdkafka has lz4; of the other codecs only snappy.
    "compression.type": "lz4",
    // The partitioner of Java's clients and kafka-python: all of them send a key to the same partition.
    partitioner: "murmur2_random",
    [MESSAGE_MAX_BYTES]: String(largestBytes),
    // A batch beyond the topic's limit is refused with all of its records, also where each alone would pass.
    "batch.size": String(Math.min(topicBytes, BATCH_BYTES)),
    // A record that is larger than the queue would wait for ever.
    "queue.buffering.max.kbytes": String(Math.max(QUEUE_KIB, allowedKib + 1)),
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
    // A broker that comes back is found within a second.
    "reconnect.backoff.max.ms": "1000",
  };
}
