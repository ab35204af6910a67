// Publishes records and reports the place in the log of each that the broker acknowledges.
import { Client, type Settings } from "../../../shared/kafka/client.ts";
import { ErrorCode } from "../../../shared/kafka/error-codes.ts";
import { EventType } from "../../../shared/kafka/ffi/bindings.ts";
import { address, type Pointer, pointer, readI32, readI64 } from "../../../shared/kafka/ffi/memory.ts";

const ANY_PARTITION = -1;
const COPY = 2;
const DELIVERIES_AT_ONCE = 512;
/** Where the fields of rd_kafka_message_t lie, in bytes. */
const MESSAGE = { error: 0, partition: 16, offset: 56, opaque: 64 } as const;

export interface Delivery {
  /** What `send` was given. */
  readonly number: number;
  /** 0: acknowledged. */
  readonly errorCode: number;
  readonly partition: number;
  /** Negative where the broker acknowledged without saying it. */
  readonly offset: number;
}

/** An idempotent producer for several topics. Its owner polls it. */
export class AcknowledgingProducer {
  readonly #client: Client;
  readonly #queue: Pointer;
  readonly #topics: readonly Pointer[];
  readonly #messages = new BigUint64Array(DELIVERIES_AT_ONCE);
  readonly #onDelivery: (delivery: Delivery) => void;
  /** The client's last error. */
  lastError = "";

  constructor(settings: Settings, topics: readonly string[], onDelivery: (delivery: Delivery) => void) {
    this.#client = Client.create("producer", settings, EventType.delivery);
    const { c } = this.#client.library;
    this.#queue = pointer(c.rd_kafka_queue_get_main(this.#client.handle), "queue");
    this.#topics = topics.map((name) => pointer(c.rd_kafka_topic_new(this.#client.handle, name, null), name));
    this.#onDelivery = onDelivery;
  }

  /** @param topic its index @returns false when the queue is full: the record was not taken */
  send(topic: number, key: string, value: string, number: number): boolean {
    const { library } = this.#client;
    const [valueBytes, keyBytes] = [Buffer.from(value), Buffer.from(key)];
    const result = library.c.rd_kafka_produce(
      this.#topics[topic]!,
      ANY_PARTITION,
      COPY,
      valueBytes,
      valueBytes.length,
      keyBytes,
      keyBytes.length,
      address(number),
    );
    if (result === 0) return true;
    const code = library.c.rd_kafka_last_error();
    if (code !== ErrorCode.queueFull) library.check(code, "a record was refused");
    return false;
  }

  /** Reports the deliveries since the last call. */
  poll(): void {
    const { library } = this.#client;
    for (;;) {
      const event = library.nextEvent(this.#queue);
      if (event === undefined) return;
      switch (library.c.rd_kafka_event_type(event)) {
        case EventType.delivery:
          this.#readDeliveries(event);
          break;
        case EventType.error:
          this.lastError = this.#client.readError(event).message;
          break;
      }
      library.c.rd_kafka_event_destroy(event);
    }
  }

  /** Records that are neither acknowledged nor failed. */
  outstanding(): number {
    const { library, handle } = this.#client;
    library.c.rd_kafka_flush(handle, 0);
    this.poll();
    return library.c.rd_kafka_outq_len(handle);
  }

  #readDeliveries(event: Pointer): void {
    for (;;) {
      const count = Number(
        this.#client.library.c.rd_kafka_event_message_array(event, this.#messages, DELIVERIES_AT_ONCE),
      );
      for (let index = 0; index < count; index++) {
        const at = address(Number(this.#messages[index]));
        this.#onDelivery({
          number: readI64(at, MESSAGE.opaque),
          errorCode: readI32(at, MESSAGE.error),
          partition: readI32(at, MESSAGE.partition),
          offset: readI64(at, MESSAGE.offset),
        });
      }
      if (count < DELIVERIES_AT_ONCE) return;
    }
  }
}
