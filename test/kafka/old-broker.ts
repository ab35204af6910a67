// Plays a broker from before Kafka 2.8, whose topics have no ids: it answers what an admin client asks about topics.
import type { Socket } from "bun";

const API_VERSIONS = 18;
const METADATA = 3;
/** Topic ids came with version 10. */
const METADATA_VERSION = 8;
const UNSUPPORTED_VERSION = 35;

/** The types of Kafka's protocol, one after the other. */
class ProtocolWriter {
  readonly #parts: Buffer[] = [];

  int8(value: number): this {
    return this.#append(1, (buffer) => buffer.writeInt8(value));
  }

  int16(value: number): this {
    return this.#append(2, (buffer) => buffer.writeInt16BE(value));
  }

  int32(value: number): this {
    return this.#append(4, (buffer) => buffer.writeInt32BE(value));
  }

  text(value: string): this {
    this.int16(value.length);
    this.#parts.push(Buffer.from(value));
    return this;
  }

  /** With its length in front, as it is sent. */
  message(): Buffer {
    const body = Buffer.concat(this.#parts);
    return Buffer.concat([new ProtocolWriter().int32(body.length).#bytes(), body]);
  }

  #bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }

  #append(length: number, write: (buffer: Buffer) => void): this {
    const buffer = Buffer.alloc(length);
    write(buffer);
    this.#parts.push(buffer);
    return this;
  }
}

/** One broker with one topic of one partition. */
export class OldBroker implements Disposable {
  readonly topic: string;
  readonly #listener: Bun.TCPSocketListener<{ received: Buffer }>;

  constructor(topic: string) {
    this.topic = topic;
    this.#listener = Bun.listen<{ received: Buffer }>({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        open: (socket) => {
          socket.data = { received: Buffer.alloc(0) };
        },
        data: (socket, bytes) => this.#onData(socket, bytes),
      },
    });
  }

  get bootstrapServers(): string {
    return `127.0.0.1:${this.#listener.port}`;
  }

  [Symbol.dispose](): void {
    this.#listener.stop(true);
  }

  #onData(socket: Socket<{ received: Buffer }>, bytes: Buffer): void {
    let received = Buffer.concat([socket.data.received, bytes]);
    while (received.length >= 4 && received.length >= 4 + received.readInt32BE(0)) {
      const end = 4 + received.readInt32BE(0);
      this.#answer(socket, received.subarray(4, end));
      received = received.subarray(end);
    }
    socket.data.received = received;
  }

  #answer(socket: Socket<{ received: Buffer }>, request: Buffer): void {
    const [api, version, correlation] = [
      request.readInt16BE(0),
      request.readInt16BE(2),
      request.readInt32BE(4),
    ];
    const answer = new ProtocolWriter().int32(correlation);
    if (api === API_VERSIONS) {
      answer.int16(version > 0 ? UNSUPPORTED_VERSION : 0).int32(2);
      answer.int16(API_VERSIONS).int16(0).int16(0);
      answer.int16(METADATA).int16(0).int16(METADATA_VERSION);
    } else if (api === METADATA && version === METADATA_VERSION) {
      this.#describe(answer);
    } else {
      throw new Error(`request ${api} of version ${version} is not played`);
    }
    socket.write(answer.message());
  }

  #describe(answer: ProtocolWriter): void {
    const node = 1;
    answer.int32(0).int32(1).int32(node).text("127.0.0.1").int32(this.#listener.port).int16(-1);
    answer.text("cluster").int32(node);
    answer.int32(1).int16(0).text(this.topic).int8(0);
    answer.int32(1).int16(0).int32(0).int32(node).int32(0);
    answer.int32(1).int32(node).int32(1).int32(node).int32(0);
    answer.int32(0).int32(0);
  }
}
