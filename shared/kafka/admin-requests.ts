// Questions to the brokers in (librdkafka's admin operations); promises of their answers out.
import { errorMessage } from "../runtime/errors.ts";
import type { Client } from "./client.ts";
import { address, type Pointer, pointer } from "./ffi/library.ts";
import { ErrorCode } from "./ffi/bindings.ts";

interface Pending {
  readonly what: string;
  /** Reads the answer and resolves the promise. */
  readonly resolve: (event: Pointer) => void;
  readonly reject: (error: Error) => void;
  readonly timer: Timer;
}

interface Request<T> {
  /** For messages: "offsets of 3 partitions cannot be read". */
  readonly what: string;
  /** One of AdminOperation. */
  readonly operation: number;
  readonly timeoutMs: number;
  /** Sees only what transactions have committed. */
  readonly readCommitted?: boolean;
  /** Calls the admin function with the options and the queue for its answer. */
  readonly send: (options: Pointer, queue: Pointer) => void;
  /** Reads the answer; what it throws rejects the promise. */
  readonly read: (event: Pointer) => T;
}

/** librdkafka answers at its own timeout; ours is for the case that it does not. */
const GRACE_MS = 1000;
const READ_COMMITTED = 1;

/**
 * The questions that one client has under way. Their answers arrive in a queue of their own, so they need
 * not wait behind records, nor for the answer to a rebalance. Someone must call `poll`.
 */
export class AdminRequests {
  readonly queue: Pointer;
  readonly #client: Client;
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;

  constructor(client: Client) {
    this.#client = client;
    this.queue = pointer(client.library.c.rd_kafka_queue_new(client.handle), "rd_kafka_queue_new");
  }

  /** @returns the answer; rejects when the brokers refuse, do not answer in time, or the client is closed */
  send<T>({ what, operation, timeoutMs, readCommitted, send, read }: Request<T>): Promise<T> {
    const { library, handle } = this.#client;
    const { c } = library;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const id = ++this.#lastId;
    const options = pointer(c.rd_kafka_AdminOptions_new(handle, operation), "rd_kafka_AdminOptions_new");
    try {
      const buffer = library.errorBuffer;
      library.check(
        c.rd_kafka_AdminOptions_set_request_timeout(options, timeoutMs, buffer, buffer.length),
        "request timeout",
      );
      if (readCommitted) {
        const refused = c.rd_kafka_AdminOptions_set_isolation_level(options, READ_COMMITTED);
        const error = library.takeError(refused, "isolation level");
        if (error) throw error;
      }
      c.rd_kafka_AdminOptions_set_opaque(options, address(id));
      send(options, this.queue);
    } finally {
      c.rd_kafka_AdminOptions_destroy(options);
    }
    const timer = setTimeout(() => {
      this.#take(id)?.reject(library.error(ErrorCode.timedOut, `${what}: no answer in ${timeoutMs} ms`));
    }, timeoutMs + GRACE_MS);
    this.#pending.set(id, { what, resolve: (event) => resolve(read(event)), reject, timer });
    return promise;
  }

  /** Settles what has been answered. */
  poll(): void {
    if (this.#pending.size > 0) this.#drain();
  }

  /** Rejects what is under way and frees the queue, which no QueueEvents may watch any more. */
  close(reason: string): void {
    for (const id of this.#pending.keys()) {
      const pending = this.#take(id);
      pending?.reject(new Error(`${pending.what}: ${reason}`));
    }
    this.#drain();
    this.#client.library.c.rd_kafka_queue_destroy(this.queue);
  }

  #drain(): void {
    const { library } = this.#client;
    for (;;) {
      const event = library.nextEvent(this.queue);
      if (event === undefined) return;
      try {
        this.#settle(event);
      } finally {
        library.c.rd_kafka_event_destroy(event);
      }
    }
  }

  #settle(event: Pointer): void {
    const { library } = this.#client;
    const pending = this.#take(library.eventOpaque(event));
    if (pending === undefined) return; // it was given up before
    const code = library.c.rd_kafka_event_error(event);
    if (code !== ErrorCode.none) {
      const text = library.c.rd_kafka_event_error_string(event) ?? "unknown error";
      pending.reject(library.error(code, `${pending.what}: ${text}`));
      return;
    }
    try {
      pending.resolve(event);
    } catch (error) {
      pending.reject(error instanceof Error ? error : new Error(errorMessage(error)));
    }
  }

  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    if (pending === undefined) return undefined;
    this.#pending.delete(id);
    clearTimeout(pending.timer);
    return pending;
  }
}
