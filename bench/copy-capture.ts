// Records the rows that a consumer sends to PostgreSQL by COPY, byte for byte, on their way.
import { connect, createServer, type Server, type Socket } from "node:net";
import { listenOnLoopback } from "../test/support/listen-on-loopback.ts";

interface Target {
  readonly host: string;
  readonly port: number;
}

/** Of a message: its type and its length, which counts itself. */
const MESSAGE_HEAD_BYTES = 5;
/** The first message of a connection has no type. */
const STARTUP_HEAD_BYTES = 4;
const COPY_DATA = "d".charCodeAt(0);
const COPY_DONE = "c".charCodeAt(0);
/** Before the rows of a COPY in the binary format: a signature of 11 bytes, flags, and the length of an extension. */
const COPY_HEADER_BYTES = 19;
const COPY_TRAILER_BYTES = 2;

/** A proxy before a server; what passes it must be unencrypted. */
export class CopyCapture implements AsyncDisposable {
  readonly port: number;
  readonly #listener: Server;
  readonly #connections: CopyReader[] = [];

  private constructor(listener: Server, port: number) {
    this.#listener = listener;
    this.port = port;
  }

  static async start(target: Target): Promise<CopyCapture> {
    const listener = createServer({ noDelay: true });
    const capture = new CopyCapture(listener, await listenOnLoopback(listener));
    listener.on("connection", (client) => capture.#carry(client, target));
    return capture;
  }

  /** The inputs of one COPY for each connection that sent rows: all rows that it sent, in their order. */
  inputs(): Uint8Array[] {
    return this.#connections.flatMap((connection) => connection.input() ?? []);
  }

  #carry(client: Socket, { host, port }: Target): void {
    const server = connect({ host, port, noDelay: true });
    const reader = new CopyReader();
    this.#connections.push(reader);
    client.on("data", (bytes: Buffer) => reader.read(bytes));
    client.pipe(server).pipe(client);
    // Each end closes the other; the consumer and the server report what matters.
    client.on("error", () => server.destroy());
    server.on("error", () => client.destroy());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise((closed) => this.#listener.close(closed));
  }
}

/** Finds the rows in what one client sends. */
class CopyReader {
  readonly #rows: Buffer[] = [];
  #copy: Buffer[] = [];
  /** What was received and not read yet, and how many bytes that is. */
  #chunks: Buffer[] = [];
  #received = 0;
  /** With so many bytes the next message, or its head, is complete. */
  #awaited = STARTUP_HEAD_BYTES;
  #isStarted = false;

  read(bytes: Buffer): void {
    this.#chunks.push(bytes);
    this.#received += bytes.length;
    if (this.#received < this.#awaited) return;
    const input = this.#chunks.length === 1 ? bytes : Buffer.concat(this.#chunks);
    let at = 0;
    for (;;) {
      const headBytes = this.#isStarted ? MESSAGE_HEAD_BYTES : STARTUP_HEAD_BYTES;
      this.#awaited = headBytes;
      if (at + headBytes > input.length) break;
      const length = headBytes + input.readUInt32BE(at + headBytes - 4) - 4;
      this.#awaited = length;
      if (at + length > input.length) break;
      if (this.#isStarted) this.#message(input[at]!, input.subarray(at + headBytes, at + length));
      this.#isStarted = true;
      at += length;
    }
    this.#chunks = [input.subarray(at)];
    this.#received = input.length - at;
  }

  input(): Uint8Array | undefined {
    if (this.#rows.length === 0) return undefined;
    const header = this.#rows[0]!.subarray(0, COPY_HEADER_BYTES);
    const trailer = this.#rows[0]!.subarray(-COPY_TRAILER_BYTES);
    const rows = this.#rows.map((copy) => copy.subarray(COPY_HEADER_BYTES, -COPY_TRAILER_BYTES));
    return Buffer.concat([header, ...rows, trailer]);
  }

  #message(type: number, content: Buffer): void {
    if (type === COPY_DATA) {
      this.#copy.push(Buffer.from(content));
    } else if (type === COPY_DONE) {
      this.#rows.push(Buffer.concat(this.#copy));
      this.#copy = [];
    }
  }
}
