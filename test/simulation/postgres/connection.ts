// Carries requests and replies between a client and its backend, with a delay, and can be cut.

import type { Backend } from "./backend.ts";
import type { ModelClient } from "./model-client.ts";
import type { PostgresModel } from "./postgres-model.ts";
import type { Reply, Request } from "./request.ts";

/** What a connection tells its session. */
export interface ConnectionEnd {
  onReply(reply: Reply): void;
  /** The connection is closed, by the server or by the network. */
  onClosed(): void;
}

/** One TCP connection. What is sent arrives in order, unless the network fails. */
export class Connection {
  readonly client: ModelClient;
  readonly #server: PostgresModel;
  readonly #end: ConnectionEnd;
  backend: Backend | undefined;
  /** False once the client has closed it, or knows that it is closed. */
  #isOpen = true;
  /** True where nothing that is sent arrives, on either side, and neither is told. */
  #isSilent = false;
  #lastArrivalMs = 0;
  #lastReplyMs = 0;

  constructor(server: PostgresModel, client: ModelClient, end: ConnectionEnd) {
    this.#server = server;
    this.client = client;
    this.#end = end;
  }

  send(request: Request): void {
    this.#toServer(() => this.backend?.receive(request));
  }

  reply(reply: Reply): void {
    this.#toClient(() => this.#end.onReply(reply));
  }

  /** The client closes it: what it has sent still arrives, and then the end. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#toServer(() => this.backend?.receive("end of connection"));
  }

  /** The server has closed it. */
  closedByServer(): void {
    this.#toClient(() => this.#closeClient());
  }

  /** The network resets it. @param isRequestLost whether a request that is on its way is lost too */
  cut(isRequestLost: boolean): void {
    const { backend } = this;
    this.#toClient(() => this.#closeClient());
    if (isRequestLost) this.backend = undefined;
    this.#toServer(() => backend?.receive("end of connection"));
    this.#isSilent = true;
  }

  /** The network loses everything from now on without a word. The server's keepalive ends the backend later. */
  silence(): void {
    this.#isSilent = true;
  }

  #closeClient(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#end.onClosed();
  }

  #toServer(run: () => void): void {
    if (this.#isSilent) return;
    const nowMs = this.#server.nowMs();
    this.#lastArrivalMs = Math.max(this.#lastArrivalMs, nowMs + this.#server.latencyMs());
    this.#server.after(this.#lastArrivalMs - nowMs, run);
  }

  #toClient(run: () => void): void {
    if (this.#isSilent) return;
    const nowMs = this.#server.nowMs();
    this.#lastReplyMs = Math.max(this.#lastReplyMs, nowMs + this.#server.latencyMs());
    this.client.after(this.#lastReplyMs - nowMs, () => {
      // The client has closed the connection, and hears no more of it.
      if (this.#isOpen) run();
    });
  }
}
