// Publishes messages to one topic, and reports each as delivered or failed.
import type { DeliveryFailure } from "../event.ts";
import { Client, type ErrorReport, type LogLine, type Settings } from "./client.ts";
import { ErrorCode } from "./error-codes.ts";
import { EventType } from "./ffi/bindings.ts";
import type { Library } from "./ffi/library.ts";
import { address, addressOf, type Pointer, pointer } from "./ffi/memory.ts";
import { MessageReader } from "./ffi/message-reader.ts";
import { QueueEvents } from "./queue-events.ts";

export interface ProducerOptions {
  readonly settings: Settings;
  readonly topic: string;
  /** Called when there is something to poll, from the event loop. */
  readonly onWake: () => void;
  /** A message is stored as safely as `acks` asks. */
  readonly onDelivered: (opaque: number) => void;
  /** These messages are not retried. With idempotence an error that leaves it open whether they were stored is fatal. */
  readonly onFailed: (failure: DeliveryFailure) => void;
  readonly onError: (error: ErrorReport) => void;
  readonly onLog: (line: LogLine) => void;
}

const COPY = 2;
const ANY_PARTITION = -1;
/** rd_kafka_purge: the messages in the queue and in flight. */
const PURGE_ALL = 1 | 2;
const FLUSH_POLL_MS = 2;
/** After a purge librdkafka's threads report every message within this time. */
const PURGE_DEADLINE_MS = 2000;
/** Initial room for one key and one value. */
const INITIAL_SCRATCH_BYTES = 64 * 1024;
const MAX_UTF8_BYTES_PER_UNIT = 3;

/** An idempotent producer for one topic. Its owner polls it when `onWake` is called, then calls `flush` and `close`. */
export class KafkaProducer {
  readonly #client: Client;
  readonly #library: Library;
  readonly #queue: Pointer;
  readonly #topic: Pointer;
  readonly #topicName: string;
  readonly #messages: MessageReader;
  readonly #queueEvents: QueueEvents;
  readonly #options: ProducerOptions;
  /** Kept apart from `library.c`, which has so many functions that a lookup in it is slow. */
  readonly #produce: Library["c"]["rd_kafka_produce"];
  #scratch: Buffer;
  #scratchAt: Pointer;
  #closing: Promise<void> | undefined;

  private constructor(
    client: Client,
    topic: Pointer,
    queue: Pointer,
    queueEvents: QueueEvents,
    options: ProducerOptions,
  ) {
    this.#client = client;
    this.#library = client.library;
    this.#topic = topic;
    this.#topicName = options.topic;
    this.#queue = queue;
    this.#messages = new MessageReader(client.library);
    this.#queueEvents = queueEvents;
    this.#options = options;
    this.#produce = client.library.c.rd_kafka_produce;
    this.#scratch = Buffer.allocUnsafeSlow(INITIAL_SCRATCH_BYTES);
    this.#scratchAt = addressOf(this.#scratch);
    queueEvents.watch(queue);
  }

  /**
   * Connects in the background. A producer that is opened some seconds before its first message sends it without delay.
   * @throws ConfigurationError for settings that librdkafka refuses
   */
  static async open(options: ProducerOptions): Promise<KafkaProducer> {
    const client = Client.create("producer", options.settings, EventType.delivery);
    const { library, handle } = client;
    const queue = pointer(library.c.rd_kafka_queue_get_main(handle), "rd_kafka_queue_get_main");
    const topic = pointer(library.c.rd_kafka_topic_new(handle, options.topic, null), "rd_kafka_topic_new");
    return new KafkaProducer(client, topic, queue, await QueueEvents.open(library, options.onWake), options);
  }

  /**
   * Queues a copy of a message. The key decides the partition.
   * @param value undefined makes a tombstone
   * @param opaque a non-negative integer that comes back when the message is delivered
   * @returns false when the queue is full: the message was not taken, try again after `poll`
   * @throws KafkaError when librdkafka refuses this message, such as one that is too large
   */
  send(key: Uint8Array | undefined, value: Uint8Array | undefined, opaque: number): boolean {
    checkOpaque(opaque);
    if (this.#closing) throw new Error("the producer is closed");
    const result = this.#produce(
      this.#topic,
      ANY_PARTITION,
      COPY,
      this.#bytes(value),
      value?.length ?? 0,
      this.#bytes(key),
      key?.length ?? 0,
      address(opaque),
    );
    return result === 0 || this.#refused();
  }

  /** `send` for texts, without a buffer for each message: the hot path. */
  sendText(key: string, value: string, opaque: number): boolean {
    checkOpaque(opaque);
    if (this.#closing) throw new Error("the producer is closed");
    const most = (key.length + value.length) * MAX_UTF8_BYTES_PER_UNIT;
    if (most > this.#scratch.length) {
      this.#scratch = Buffer.allocUnsafeSlow(most * 2);
      this.#scratchAt = addressOf(this.#scratch);
    }
    const keyLength = this.#scratch.write(key, 0);
    const valueLength = this.#scratch.write(value, keyLength);
    const result = this.#produce(
      this.#topic,
      ANY_PARTITION,
      COPY,
      address(Number(this.#scratchAt) + keyLength),
      valueLength,
      this.#scratchAt,
      keyLength,
      address(opaque),
    );
    return result === 0 || this.#refused();
  }

  /** Calls back for all deliveries, failures, errors and log lines since the last call. */
  poll(): void {
    if (!this.#closing) this.#drain();
  }

  /** Messages that are not yet reported as delivered or failed (and log lines that were not polled). */
  outstanding(): number {
    return this.#closing ? 0 : this.#library.c.rd_kafka_outq_len(this.#client.handle);
  }

  /** Sends without lingering until all messages are delivered. @returns how many are still outstanding */
  async flush(deadlineMs: number): Promise<number> {
    const deadline = performance.now() + deadlineMs;
    for (;;) {
      if (this.#closing) return 0;
      // With a timeout it would block this thread, which must drain the delivery reports.
      this.#library.c.rd_kafka_flush(this.#client.handle, 0);
      this.#drain();
      const outstanding = this.outstanding();
      if (outstanding === 0 || performance.now() >= deadline) return outstanding;
      await Bun.sleep(FLUSH_POLL_MS);
    }
  }

  /** Gives up the outstanding messages (each is reported as failed) and frees everything. Call `flush` before. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { c } = this.#library;
    const { handle } = this.#client;
    const deadline = performance.now() + PURGE_DEADLINE_MS;
    c.rd_kafka_purge(handle, PURGE_ALL);
    this.#drain();
    while (c.rd_kafka_outq_len(handle) > 0 && performance.now() < deadline) {
      await Bun.sleep(FLUSH_POLL_MS);
      this.#drain();
    }
    this.#queueEvents.close();
    c.rd_kafka_topic_destroy(this.#topic);
    c.rd_kafka_queue_destroy(this.#queue);
    this.#client.destroy();
  }

  #drain(): void {
    const { c } = this.#library;
    for (;;) {
      const event = this.#library.nextEvent(this.#queue);
      if (event === undefined) return;
      try {
        switch (c.rd_kafka_event_type(event)) {
          case EventType.delivery:
            this.#readDeliveries(event);
            break;
          case EventType.error:
            this.#options.onError(this.#client.readError(event));
            break;
          case EventType.log:
            this.#options.onLog(this.#library.eventLog(event));
            break;
          default:
        }
      } finally {
        c.rd_kafka_event_destroy(event);
      }
    }
  }

  #readDeliveries(event: Pointer): void {
    const { onDelivered, onFailed } = this.#options;
    let failures: Map<number, number> | undefined;
    this.#messages.readDeliveries(event, (opaque, code) => {
      if (code === ErrorCode.none) {
        onDelivered(opaque);
        return;
      }
      failures ??= new Map();
      failures.set(code, (failures.get(code) ?? 0) + 1);
    });
    if (failures === undefined) return;
    for (const [code, count] of failures) onFailed({ code, message: this.#library.describe(code), count });
  }

  /** @returns false for a full queue. @throws KafkaError for every other refusal */
  #refused(): false {
    const code = this.#library.c.rd_kafka_last_error();
    if (code !== ErrorCode.queueFull)
      this.#library.check(code, `cannot send a message to ${this.#topicName}`);
    return false;
  }

  /** NULL stands for no key or value; an empty one needs an address too. */
  #bytes(bytes: Uint8Array | undefined): Uint8Array | Pointer | null {
    if (bytes === undefined) return null;
    return bytes.length === 0 ? this.#scratchAt : bytes;
  }
}

/** The opaque travels as a pointer, and an invalid pointer ends the process. */
function checkOpaque(opaque: number): void {
  if (!Number.isSafeInteger(opaque) || opaque < 0) {
    throw new RangeError(`the opaque must be a non-negative integer, not ${opaque}`);
  }
}
