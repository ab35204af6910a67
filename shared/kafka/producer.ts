// Keys and values in; records of one topic in Kafka, and the fate of each by its opaque number, out.
import type { RecordHeader } from "../pipeline/record-block.ts";
import { Client, type ErrorReport, type LogLine, type Settings } from "./client.ts";
import type { KafkaError } from "./kafka-error.ts";
import { address, type Library, type Pointer, pointer } from "./ffi/library.ts";
import { ErrorCode, EventType } from "./ffi/bindings.ts";
import { QueueEvents } from "./queue-events.ts";

/** Messages that were given up for the same reason under the same opaque. */
export interface DeliveryFailure {
  readonly opaque: number;
  readonly code: number;
  readonly message: string;
  readonly count: number;
}

export interface ProducerOptions {
  readonly settings: Settings;
  readonly topic: string;
  /** Called when there is something to poll, from the event loop. */
  readonly onWake: () => void;
  /** A message is stored as safely as `acks` asks. */
  readonly onDelivered: (opaque: number) => void;
  /** Messages that will not be tried again; with idempotence, an error that makes their fate unknown is fatal. */
  readonly onFailed: (failure: DeliveryFailure) => void;
  readonly onError: (error: ErrorReport) => void;
  readonly onLog: (line: LogLine) => void;
}

export interface SendOptions {
  readonly headers?: readonly RecordHeader[];
  /** Chosen by the key where it is not given. */
  readonly partition?: number;
}

const COPY = 2;
const ANY_PARTITION = -1;
/** Purge what is queued and what is under way. */
const PURGE_ALL = 1 | 2;
const FLUSH_POLL_MS = 2;
/** After a purge every message comes back within this time, at the pace of librdkafka's threads. */
const PURGE_DEADLINE_MS = 2000;
/** Room for one key and one value; grows. */
const INITIAL_SCRATCH_BYTES = 64 * 1024;
const MAX_UTF8_BYTES_PER_UNIT = 3;

export class KafkaProducer {
  readonly #client: Client;
  readonly #library: Library;
  readonly #queue: Pointer;
  readonly #topic: Pointer;
  readonly #topicName: string;
  readonly #wake: QueueEvents;
  readonly #options: ProducerOptions;
  /** Kept apart: an object of so many functions is slow to look them up in. */
  readonly #produce: Library["c"]["rd_kafka_produce"];
  #scratch: Buffer;
  #scratchAt: number;
  #closing: Promise<void> | undefined;

  private constructor(
    client: Client,
    topic: Pointer,
    queue: Pointer,
    wake: QueueEvents,
    options: ProducerOptions,
  ) {
    this.#client = client;
    this.#library = client.library;
    this.#topic = topic;
    this.#topicName = options.topic;
    this.#queue = queue;
    this.#wake = wake;
    this.#options = options;
    this.#produce = client.library.c.rd_kafka_produce;
    this.#scratch = Buffer.allocUnsafeSlow(INITIAL_SCRATCH_BYTES);
    this.#scratchAt = this.#library.addressOf(this.#scratch);
    wake.watch(queue);
  }

  /**
   * Connects in the background: a producer opened some seconds before its first message sends that without delay.
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
   * Takes a message; it is copied.
   * @param value undefined makes a tombstone
   * @param opaque a non-negative integer that comes back with the message's fate
   * @returns false when the queue is full: nothing was taken, try again after `poll`
   * @throws KafkaError when this message is refused (too large, unknown partition, ...)
   */
  send(
    key: Uint8Array | undefined,
    value: Uint8Array | undefined,
    opaque: number,
    options?: SendOptions,
  ): boolean {
    checkOpaque(opaque);
    if (this.#closing) throw new Error("the producer is closed");
    if (options?.headers !== undefined) {
      return this.#sendWithHeaders(key, value, opaque, options.headers, options.partition);
    }
    const result = this.#produce(
      this.#topic,
      options?.partition ?? ANY_PARTITION,
      COPY,
      this.#bytes(value),
      value?.length ?? 0,
      this.#bytes(key),
      key?.length ?? 0,
      address(opaque),
    );
    return result === 0 || this.#refused();
  }

  /** `send` for texts, without a buffer for each: the hot path. */
  sendText(key: string, value: string, opaque: number): boolean {
    checkOpaque(opaque);
    if (this.#closing) throw new Error("the producer is closed");
    const most = (key.length + value.length) * MAX_UTF8_BYTES_PER_UNIT;
    if (most > this.#scratch.length) {
      this.#scratch = Buffer.allocUnsafeSlow(most * 2);
      this.#scratchAt = this.#library.addressOf(this.#scratch);
    }
    const keyLength = this.#scratch.write(key, 0);
    const valueLength = this.#scratch.write(value, keyLength);
    const result = this.#produce(
      this.#topic,
      ANY_PARTITION,
      COPY,
      address(this.#scratchAt + keyLength),
      valueLength,
      address(this.#scratchAt),
      keyLength,
      address(opaque),
    );
    return result === 0 || this.#refused();
  }

  /** Calls back for everything that has happened. */
  poll(): void {
    if (!this.#closing) this.#drain();
  }

  /** Messages whose fate has not been called back yet (and log lines that were not polled). */
  outstanding(): number {
    return this.#closing ? 0 : this.#library.c.rd_kafka_outq_len(this.#client.handle);
  }

  /** Sends without lingering until all is delivered. @returns how many messages are still outstanding */
  async flush(deadlineMs: number): Promise<number> {
    const deadline = performance.now() + deadlineMs;
    for (;;) {
      if (this.#closing) return 0;
      // With a time to wait, this would block the thread that has to drain the delivery reports.
      this.#library.c.rd_kafka_flush(this.#client.handle, 0);
      this.#drain();
      const outstanding = this.outstanding();
      if (outstanding === 0 || performance.now() >= deadline) return outstanding;
      await Bun.sleep(FLUSH_POLL_MS);
    }
  }

  /** Gives up what is outstanding (each is called back as failed) and frees everything. `flush` comes before. */
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
    this.#wake.close();
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
    let failures: Map<string, { opaque: number; code: number; count: number }> | undefined;
    this.#library.readDeliveries(event, (opaque, code) => {
      if (code === ErrorCode.none) {
        onDelivered(opaque);
        return;
      }
      failures ??= new Map();
      const name = `${opaque} ${code}`;
      const failure = failures.get(name) ?? { opaque, code, count: 0 };
      failure.count++;
      failures.set(name, failure);
    });
    if (failures === undefined) return;
    for (const failure of failures.values()) {
      onFailed({ ...failure, message: this.#library.c.rd_kafka_err2str(failure.code) ?? "unknown error" });
    }
  }

  /** @returns false for a full queue. @throws for every other refusal */
  #refused(): false {
    const code = this.#library.c.rd_kafka_last_error();
    if (code === ErrorCode.queueFull) return false;
    throw this.#refusal(code);
  }

  #refusal(code: number): KafkaError {
    const text = this.#library.c.rd_kafka_err2str(code) ?? "unknown error";
    return this.#library.error(code, `a message for ${this.#topicName} was refused: ${text}`);
  }

  #sendWithHeaders(
    key: Uint8Array | undefined,
    value: Uint8Array | undefined,
    opaque: number,
    headers: readonly RecordHeader[],
    partition = ANY_PARTITION,
  ): boolean {
    const code = this.#library.produceWithHeaders(this.#client.handle, {
      topic: this.#topic,
      partition,
      key,
      value,
      opaque,
      headers,
    });
    if (code === ErrorCode.none) return true;
    if (code === ErrorCode.queueFull) return false;
    throw this.#refusal(code);
  }

  /** For C: NULL is none, an empty key or value needs an address all the same. */
  #bytes(bytes: Uint8Array | undefined): Uint8Array | Pointer | null {
    if (bytes === undefined) return null;
    return bytes.length === 0 ? address(this.#scratchAt) : bytes;
  }
}

/** It travels as a pointer; what is none would end the process. */
function checkOpaque(opaque: number): void {
  if (!Number.isSafeInteger(opaque) || opaque < 0) {
    throw new RangeError(`an opaque is a non-negative integer, not ${opaque}`);
  }
}
