// A queue of librdkafka in; a call in this thread whenever it becomes non-empty out.
import type { Library, Pointer } from "./ffi/library.ts";

/** A wake-up that was missed (a datagram may be lost) costs at most this. */
const SAFETY_NET_MS = 250;

/**
 * librdkafka's threads write a datagram to a socket of this thread's event loop when a queue becomes
 * non-empty; they are told no second time until the queue was polled empty. So the receiver polls until
 * nothing comes, and polls again by itself where it stopped early.
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

  /** @param onWake called from the event loop, also when there turns out to be nothing */
  static async open(library: Library, onWake: () => void): Promise<QueueEvents> {
    const receiver = await Bun.udpSocket({ hostname: "127.0.0.1", socket: { data: () => onWake() } });
    const sender = connectedSocket(library, receiver.port);
    if (sender < 0) {
      receiver.close();
      throw new Error("no socket for wake-ups could be opened");
    }
    return new QueueEvents(library, receiver, sender, setInterval(onWake, SAFETY_NET_MS));
  }

  /** Watches a queue, until `close`. */
  watch(queue: Pointer): void {
    this.#library.c.rd_kafka_queue_io_event_enable(queue, this.#sender, new Uint8Array([1]), 1);
    this.#queues.push(queue);
  }

  /** Must come before the queues are destroyed. */
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

/** A UDP socket that sends to a port of this machine. @returns its file descriptor, -1 when there is none */
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
