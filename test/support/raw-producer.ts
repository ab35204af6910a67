// Publishes records with what the programs never send: headers, a chosen partition.
import { dlopen } from "bun:ffi";
import { Client, type Settings } from "../../shared/kafka/client.ts";
import { ErrorCode } from "../../shared/kafka/error-codes.ts";
import { EventType } from "../../shared/kafka/ffi/bindings.ts";
import { loadLibrary } from "../../shared/kafka/ffi/load-library.ts";
import { addressOf, isNull, type Pointer, pointer } from "../../shared/kafka/ffi/memory.ts";
import { MessageReader } from "../../shared/kafka/ffi/message-reader.ts";
import { prepareNativeLibrary } from "../../shared/kafka/native-library.ts";
import type { RecordHeader } from "../../shared/pipeline/record-headers.ts";

export interface RawRecord {
  readonly key?: Uint8Array | undefined;
  /** Undefined makes a tombstone. */
  readonly value: Uint8Array | undefined;
  readonly headers?: readonly RecordHeader[] | undefined;
  /** Default: chosen by the key. */
  readonly partition?: number | undefined;
}

const ANY_PARTITION = -1;
const COPY = 2;
const DEADLINE_MS = 60_000;
const POLL_MS = 2;
/** rd_kafka_vtype_t: the type of each argument of rd_kafka_produceva; an argument takes nine words of 64 bits. */
const ARGUMENT = { topic: 2, partition: 3, value: 4, key: 5, flags: 7, headers: 10 } as const;
const ARGUMENT_WORDS = 9;
const EMPTY = new Uint8Array(1);

function loadFunctions() {
  return dlopen(loadLibrary().path, {
    rd_kafka_produceva: { args: ["ptr", "ptr", "u64"], returns: "ptr" },
    rd_kafka_headers_new: { args: ["u64"], returns: "ptr" },
    rd_kafka_header_add: { args: ["ptr", "cstring", "i64", "ptr", "i64"], returns: "i32" },
    rd_kafka_headers_destroy: { args: ["ptr"], returns: "void" },
  }).symbols;
}

export class RawProducer {
  readonly #client: Client;
  readonly #topic: Pointer;
  readonly #queue: Pointer;
  readonly #reader: MessageReader;
  readonly #own = loadFunctions();
  #failure: number | undefined;

  private constructor(client: Client, topic: string) {
    const { library, handle } = client;
    this.#client = client;
    this.#topic = pointer(library.c.rd_kafka_topic_new(handle, topic, null), "topic");
    this.#queue = pointer(library.c.rd_kafka_queue_get_main(handle), "queue");
    this.#reader = new MessageReader(library);
  }

  static async open(settings: Settings, topic: string): Promise<RawProducer> {
    await prepareNativeLibrary(() => {});
    return new RawProducer(Client.create("producer", settings, EventType.delivery), topic);
  }

  /** Publishes records in their order, and waits until the broker has them. @throws KafkaError for the first failure */
  async send(records: Iterable<RawRecord>): Promise<void> {
    for (const record of records) {
      for (;;) {
        const code = this.#produce(record);
        if (code === ErrorCode.none) break;
        if (code !== ErrorCode.queueFull) this.#client.library.check(code, "a record was refused");
        await Bun.sleep(POLL_MS);
        this.#drain();
      }
    }
    await this.#flush();
  }

  /** Publishes `from`, `from + 1`, ... to the partitions in turn: partition p gets the numbers p, p + partitions, ... */
  async sendNumbers(from: number, to: number, partitions: number): Promise<void> {
    await this.send(
      Array.from({ length: to - from }, (_, i) => ({
        value: Buffer.from(String(from + i)),
        partition: (from + i) % partitions,
      })),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { library } = this.#client;
    this.#drain();
    library.c.rd_kafka_topic_destroy(this.#topic);
    library.c.rd_kafka_queue_destroy(this.#queue);
    this.#client.destroy();
  }

  async #flush(): Promise<void> {
    const { library, handle } = this.#client;
    const deadline = performance.now() + DEADLINE_MS;
    for (;;) {
      library.c.rd_kafka_flush(handle, 0);
      this.#drain();
      if (this.#failure !== undefined) library.check(this.#failure, "a record was not delivered");
      const outstanding = library.c.rd_kafka_outq_len(handle);
      if (outstanding === 0) return;
      if (performance.now() > deadline) throw new Error(`${outstanding} records were not delivered`);
      await Bun.sleep(POLL_MS);
    }
  }

  #drain(): void {
    const { library } = this.#client;
    for (;;) {
      const event = library.nextEvent(this.#queue);
      if (event === undefined) return;
      if (library.c.rd_kafka_event_type(event) === EventType.delivery) {
        this.#reader.readDeliveries(event, (_, code) => {
          if (code !== ErrorCode.none) this.#failure ??= code;
        });
      }
      library.c.rd_kafka_event_destroy(event);
    }
  }

  /** @returns an error code; 0 when librdkafka took the record */
  #produce({ key, value, headers, partition = ANY_PARTITION }: RawRecord): number {
    const { library, handle } = this.#client;
    const { c } = library;
    if (headers === undefined) {
      const sizes = [value?.length ?? 0, key?.length ?? 0] as const;
      const [valueAt, keyAt] = [memory(value), memory(key)];
      const result = c.rd_kafka_produce(
        this.#topic,
        partition,
        COPY,
        valueAt,
        sizes[0],
        keyAt,
        sizes[1],
        null,
      );
      return result === 0 ? ErrorCode.none : c.rd_kafka_last_error();
    }
    const list = pointer(this.#own.rd_kafka_headers_new(headers.length), "headers");
    for (const header of headers) {
      this.#own.rd_kafka_header_add(list, header.name, -1, memory(header.value), header.value?.length ?? 0);
    }
    const fields = [
      [ARGUMENT.topic, Number(this.#topic), 0],
      [ARGUMENT.partition, partition >>> 0, 0],
      [ARGUMENT.value, Number(memory(value)), value?.length ?? 0],
      [ARGUMENT.key, Number(memory(key)), key?.length ?? 0],
      [ARGUMENT.flags, COPY, 0],
      [ARGUMENT.headers, Number(list), 0],
    ];
    const words = new BigUint64Array(fields.length * ARGUMENT_WORDS);
    fields.forEach((field, i) => words.set(field.map(BigInt), i * ARGUMENT_WORDS));
    const error = this.#own.rd_kafka_produceva(handle, words, fields.length);
    if (isNull(error)) return ErrorCode.none;
    this.#own.rd_kafka_headers_destroy(list); // librdkafka owns the list only when it took the record
    return library.takeError(error, "produceva")?.code ?? ErrorCode.none;
  }
}

/** The address of bytes: NULL for none, and an address for empty ones, too. */
function memory(bytes: Uint8Array | undefined): Pointer | null {
  if (bytes === undefined) return null;
  return addressOf(bytes.length === 0 ? EMPTY : bytes);
}
