// Stands before a real broker and takes from it what came with Kafka 2.8: topics then have no ids.
import { connect, createServer, type Server, type Socket } from "node:net";

const API_VERSIONS = 18;
/** The newest versions of requests without topic ids: Produce, Fetch, Metadata. */
const NEWEST: ReadonlyMap<number, number> = new Map([
  [0, 12],
  [1, 12],
  [3, 9],
]);
/** The body of ApiVersions from this version on is in the compact form. */
const COMPACT = 3;

/**
 * A proxy for one broker, which must advertise the proxy's port. It changes only the list of versions that the broker
 * offers; the client then asks as it would ask an old broker.
 */
export class WithoutTopicIds implements AsyncDisposable {
  /** Lists of versions that were changed. */
  cappedAnswers = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
  }

  /** @param behind the port of the broker */
  static async start(port: number, behind: number): Promise<WithoutTopicIds> {
    const proxy = new WithoutTopicIds(createServer());
    proxy.#server.on("connection", (client) => proxy.#serve(client, connect(behind, "127.0.0.1")));
    await new Promise<void>((resolve) => proxy.#server.listen(port, "127.0.0.1", resolve));
    return proxy;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #serve(client: Socket, broker: Socket): void {
    /** The version of each ApiVersions request, by correlation id. */
    const asked = new Map<number, number>();
    const toBroker = new Frames((frame) => {
      if (frame.readInt16BE(4) === API_VERSIONS) asked.set(frame.readInt32BE(8), frame.readInt16BE(6));
      broker.write(frame);
    });
    const toClient = new Frames((frame) => {
      const version = asked.get(frame.readInt32BE(4));
      if (version !== undefined && capVersions(frame, version)) this.cappedAnswers++;
      client.write(frame);
    });
    client.on("data", (bytes) => toBroker.push(bytes as Buffer));
    broker.on("data", (bytes) => toClient.push(bytes as Buffer));
    for (const [socket, other] of [
      [client, broker],
      [broker, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
  }
}

/** Cuts a stream into messages, each with its length in front. */
class Frames {
  #received = Buffer.alloc(0);
  readonly #onFrame: (frame: Buffer) => void;

  constructor(onFrame: (frame: Buffer) => void) {
    this.#onFrame = onFrame;
  }

  push(bytes: Buffer): void {
    this.#received = Buffer.concat([this.#received, bytes]);
    while (this.#received.length >= 4) {
      const end = 4 + this.#received.readInt32BE(0);
      if (this.#received.length < end) return;
      const frame = Buffer.from(this.#received.subarray(0, end));
      this.#received = this.#received.subarray(end);
      this.#onFrame(frame);
    }
  }
}

/** Length, correlation id, error; then each api with its oldest and newest version, in the compact form with a tag. */
function capVersions(frame: Buffer, version: number): boolean {
  if (frame.readInt16BE(8) !== 0) return false;
  const isCompact = version >= COMPACT;
  const count = isCompact ? frame.readUInt8(10) - 1 : frame.readInt32BE(10);
  const first = isCompact ? 11 : 14;
  const step = isCompact ? 7 : 6;
  for (let index = 0; index < count; index++) {
    const at = first + index * step;
    const newest = NEWEST.get(frame.readInt16BE(at));
    if (newest !== undefined) frame.writeInt16BE(Math.min(newest, frame.readInt16BE(at + 4)), at + 4);
  }
  return true;
}
