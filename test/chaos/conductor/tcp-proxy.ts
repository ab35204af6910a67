// Carries the connections to a server, and damages them: delay, a narrow link, silence, cuts.
import { connect, createServer, type Server, type Socket } from "node:net";
import { eventually } from "../../support/eventually.ts";
import { listenOnLoopback } from "../../support/listen-on-loopback.ts";

export interface Link {
  /** Added to each chunk of bytes, in each direction. */
  readonly delayMs: number;
  readonly bytesPerSecond: number;
}

const CONNECTED_DEADLINE_MS = 120_000;
const PERFECT: Link = { delayMs: 0, bytesPerSecond: Infinity };

/** Where a transaction is cut: after its COMMIT, whose answer is lost, or before it, after an UPDATE. */
export type CommitCut = "after COMMIT" | "before COMMIT";

/** The tag of the server's answer after which the connection breaks; the client does not get it. */
const CUT_TAGS: Readonly<Record<CommitCut, string>> = {
  "after COMMIT": "COMMIT\0",
  "before COMMIT": "UPDATE ",
};

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  /** Carries nothing more, and tells neither side. */
  isSilent: boolean;
}

/** A proxy on a loopback port. Its faults also apply to connections that are open. */
export class TcpProxy implements AsyncDisposable {
  readonly port: number;
  link: Link = PERFECT;
  /** Set: the next transaction that comes there loses its connection. */
  cutCommit: CommitCut | undefined;
  /** Transactions that lost their connection. */
  commitsCut = 0;
  /** Bytes that were dropped on silent connections. */
  bytesDropped = 0;
  /** Bytes that were carried while the link was not perfect. */
  bytesDelayed = 0;
  readonly #listener: Server;
  readonly #pairs = new Set<Pair>();

  private constructor(listener: Server, port: number) {
    this.#listener = listener;
    this.port = port;
  }

  static async start(target: { readonly host: string; readonly port: number }): Promise<TcpProxy> {
    const listener = createServer({ allowHalfOpen: false, noDelay: true });
    const proxy = new TcpProxy(listener, await listenOnLoopback(listener));
    listener.on("connection", (client) => proxy.#accept(client, target));
    return proxy;
  }

  /** Open connections. */
  get connections(): number {
    return this.#pairs.size;
  }

  /** Waits until there is a connection: after a fault, clients take some seconds to come back. */
  async connected(): Promise<void> {
    await eventually("there is a connection", () => this.#pairs.size > 0, {
      timeoutMs: CONNECTED_DEADLINE_MS,
    });
  }

  /** Ends all open connections, at once and at both sides. @returns how many */
  cutAll(): number {
    const cut = this.#pairs.size;
    for (const pair of this.#pairs) end(pair);
    return cut;
  }

  /** Silences the connections that are open now; new ones work. @returns ends the silenced ones */
  silenceAll(): () => void {
    const silenced = [...this.#pairs];
    for (const pair of silenced) pair.isSilent = true;
    return () => {
      for (const pair of silenced) end(pair);
    };
  }

  heal(): void {
    this.link = PERFECT;
    this.cutCommit = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cutAll();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#listener.close(() => resolve());
    await promise;
  }

  #accept(client: Socket, target: { readonly host: string; readonly port: number }): void {
    const server = connect({ ...target, noDelay: true });
    const pair: Pair = { client, server, isSilent: false };
    this.#pairs.add(pair);
    this.#carry(pair, client, server);
    this.#carry(pair, server, client);
  }

  #carry(pair: Pair, from: Socket, to: Socket): void {
    let [freeAtMs, dueAtMs] = [0, 0];
    from.on("data", (chunk: Buffer) => {
      if (pair.isSilent) {
        this.bytesDropped += chunk.length;
        return;
      }
      if (this.cutCommit !== undefined && from === pair.server && chunk.includes(CUT_TAGS[this.cutCommit])) {
        this.cutCommit = undefined;
        this.commitsCut++;
        end(pair);
        return;
      }
      const { delayMs, bytesPerSecond } = this.link;
      const now = performance.now();
      freeAtMs = Math.max(now, freeAtMs) + (chunk.length / bytesPerSecond) * 1000;
      // Bytes that wait for a slow link stay in front of those that come after it is healed.
      dueAtMs = Math.max(dueAtMs, freeAtMs + delayMs);
      const waitMs = dueAtMs - now;
      if (waitMs <= 0) {
        to.write(chunk);
        return;
      }
      this.bytesDelayed += chunk.length;
      // TCP's window: the sender waits while the link is busy.
      from.pause();
      setTimeout(() => from.resume(), freeAtMs - now);
      setTimeout(() => {
        if (!pair.isSilent && !to.destroyed) to.write(chunk);
      }, waitMs);
    });
    const close = () => {
      this.#pairs.delete(pair);
      // Half-open: the other side does not learn that this one is gone.
      if (!pair.isSilent) end(pair);
    };
    from.on("close", close);
    from.on("error", () => {});
  }
}

function end({ client, server }: Pair): void {
  client.destroy();
  server.destroy();
}
