// Sends librdkafka's admin requests and settles a promise for each.
import { errorMessage } from "../runtime/errors.ts";
import type { Client } from "./client.ts";
import { ErrorCode } from "./error-codes.ts";
import { address, type Pointer, pointer } from "./ffi/memory.ts";

interface Pending {
  readonly what: string;
  /** Reads the response and resolves the promise. */
  readonly resolve: (event: Pointer) => void;
  readonly reject: (error: Error) => void;
  readonly timer: Timer;
}

interface Request<T> {
  /** The failed request for error messages: "the end of 3 partitions cannot be read". */
  readonly what: string;
  /** One of AdminOperation. */
  readonly operation: number;
  readonly timeoutMs: number;
  /** The coordinator of a group answers it. The client must be closed within an hour after one that timed out. */
  readonly isForCoordinator?: boolean;
  /** The id of the broker that is asked; default: librdkafka's choice, mostly the controller. */
  readonly broker?: number | undefined;
  /** Reads only what transactions have committed. */
  readonly readCommitted?: boolean;
  /** Checks the request without carrying it out. */
  readonly validateOnly?: boolean;
  /** Asks what this user may do as well. */
  readonly withOperations?: boolean;
  /** Calls the admin function with the options and the queue for its response. */
  readonly send: (options: Pointer, queue: Pointer) => void;
  /** Reads the response; what it throws rejects the promise. */
  readonly read: (event: Pointer) => T;
}

/** librdkafka settles a request at its own timeout; ours covers the case that it does not. */
const GRACE_MS = 1000;
/**
 * librdkafka 2.15 aborts the process when a coordinator comes back after a request for it has timed out
 * (`rd_kafka_admin_coord_request` uses what the timeout has freed), so its own timeout is the longest that it takes.
 */
const COORDINATOR_TIMEOUT_MS = 3_600_000;
const READ_COMMITTED = 1;

/**
 * The admin requests of one client. Responses arrive in a separate queue, so they wait neither behind records nor
 * for the answer to a rebalance. The owner must call `poll`.
 */
export class AdminRequests {
  readonly queue: Pointer;
  readonly #client: Client;
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;
  /** Why no more requests can be sent. */
  #closedBecause: string | undefined;

  constructor(client: Client) {
    this.#client = client;
    this.queue = pointer(client.library.c.rd_kafka_queue_new(client.handle), "rd_kafka_queue_new");
  }

  /** Rejects when the brokers refuse, when they do not respond in time, and when the client is closed. */
  send<T>(request: Request<T>): Promise<T> {
    const { what, operation, timeoutMs, isForCoordinator, send, read } = request;
    if (this.#closedBecause !== undefined)
      return Promise.reject(new Error(`${what}: ${this.#closedBecause}`));
    const { library, handle } = this.#client;
    const { c } = library;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const id = ++this.#lastId;
    const options = pointer(c.rd_kafka_AdminOptions_new(handle, operation), "rd_kafka_AdminOptions_new");
    const libraryTimeoutMs = isForCoordinator ? COORDINATOR_TIMEOUT_MS : timeoutMs;
    try {
      const buffer = library.errorBuffer;
      library.check(
        c.rd_kafka_AdminOptions_set_request_timeout(options, libraryTimeoutMs, buffer, buffer.length),
        "request timeout",
      );
      this.#setExtras(options, request);
      c.rd_kafka_AdminOptions_set_opaque(options, address(id));
      send(options, this.queue);
    } finally {
      c.rd_kafka_AdminOptions_destroy(options);
    }
    const timer = setTimeout(() => {
      this.#take(id)?.reject(library.error(ErrorCode.timedOut, `${what}: no response in ${timeoutMs} ms`));
    }, timeoutMs + GRACE_MS);
    this.#pending.set(id, { what, resolve: (event) => resolve(read(event)), reject, timer });
    return promise;
  }

  #setExtras(
    options: Pointer,
    extras: Pick<Request<unknown>, "broker" | "readCommitted" | "validateOnly" | "withOperations">,
  ) {
    const { library } = this.#client;
    const { c, errorBuffer: buffer } = library;
    if (extras.broker !== undefined) {
      library.check(
        c.rd_kafka_AdminOptions_set_broker(options, extras.broker, buffer, buffer.length),
        "broker",
      );
    }
    if (extras.readCommitted === true) {
      const refused = c.rd_kafka_AdminOptions_set_isolation_level(options, READ_COMMITTED);
      library.throwError(refused, "isolation level");
    }
    if (extras.validateOnly === true) {
      library.check(
        c.rd_kafka_AdminOptions_set_validate_only(options, 1, buffer, buffer.length),
        "validation",
      );
    }
    if (extras.withOperations === true) {
      const refused = c.rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
      library.throwError(refused, "authorized operations");
    }
  }

  /** Settles the requests whose responses have arrived. */
  poll(): void {
    if (this.#pending.size > 0) this.#drain();
  }

  /** Rejects the open requests and frees the queue, which no QueueEvents may still watch. */
  close(reason: string): void {
    this.#closedBecause = reason;
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
    if (pending === undefined) return; // its timer has rejected it
    const code = library.c.rd_kafka_event_error(event);
    if (code !== ErrorCode.none) {
      const text = library.c.rd_kafka_event_error_string(event) ?? library.describe(code);
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
