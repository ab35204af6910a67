// Calls back in this thread when a queue of librdkafka becomes non-empty.
import type { Library } from "./ffi/library.ts";
import type { Pointer } from "./ffi/memory.ts";

/** A missed wake-up (a datagram may be lost) costs at most this. */
const SAFETY_NET_MS = 250;

/**
 * When a queue becomes non-empty, librdkafka's threads write a datagram to a socket of this thread's event loop.
 * They do not write again before the queue was polled empty. So the receiver polls until nothing comes; where it stops
 * earlier, it must poll again without a wake-up.
 */
export class QueueEvents {
  readonly #library: Library;
  readonly #receiver: Bun.udp.Socket<"buffer">;
  readonly #sender: number;
  readonly #timer: Timer;
  readonly #queues: Pointer[] = [];

  private constructor(library: Library, receiver: Bun.udp.Socket<"buffer">, sender: number, timer: Timer) {
    this.#library = library;
    this.#receiver = receiver;
    this.#sender = sender;
    this.#timer = timer;
  }

  /** @param onWake called from the event loop, sometimes for an empty queue */
  static async open(library: Library, onWake: () => void): Promise<QueueEvents> {
    const receiver = await Bun.udpSocket({ hostname: "127.0.0.1", socket: { data: () => onWake() } });
    const sender = connectedSocket(library, receiver.port);
    if (sender < 0) {
      receiver.close();
      throw new Error("cannot open a UDP socket on 127.0.0.1 for the wake-ups of librdkafka");
    }
    return new QueueEvents(library, receiver, sender, setInterval(onWake, SAFETY_NET_MS));
  }

  /** Watches a queue, until `close`. */
  watch(queue: Pointer): void {
    this.#library.c.rd_kafka_queue_io_event_enable(queue, this.#sender, new Uint8Array([1]), 1);
    this.#queues.push(queue);
  }

  /** Call it before the queues are destroyed. */
  close(): void {
    clearInterval(this.#timer);
    for (const queue of this.#queues) this.#library.c.rd_kafka_queue_io_event_enable(queue, -1, null, 0);
    this.#library.c.close(this.#sender);
    this.#receiver.close();
  }
}

const AF_INET = 2;
const SOCK_DGRAM = 2;
const ON_LINUX = process.platform === "linux";
const SOCK_NONBLOCK = ON_LINUX ? 0o4000 : 0;

/** Opens a UDP socket that sends to a local port. @returns its file descriptor, -1 when it cannot be opened */
function connectedSocket({ c }: Library, port: number): number {
  const to = Buffer.alloc(16);
  if (ON_LINUX) to.writeUInt16LE(AF_INET, 0);
  else to.set([to.length, AF_INET]); // BSD: the length of the address, then a family of one byte
  to.writeUInt16BE(port, 2);
  to.set([127, 0, 0, 1], 4);
  const descriptor = c.socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return -1;
  if (c.connect(descriptor, to, to.length) === 0) return descriptor;
  c.close(descriptor);
  return -1;
}
