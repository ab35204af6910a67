// Holds a worker's connection to PostgreSQL, with the store that remembers what this connection left there.

import type { Config } from "../../shared/config/config.ts";
import { endStuckPeers } from "../../shared/store/database-owner.ts";
import { Session } from "../../shared/store/session.ts";
import { Store } from "../../shared/store/store.ts";
import type { ResyncCause, WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";

/** A peer that waits for its own client in a transaction for this long is ended when it blocks this worker. */
const STUCK_PEER_SECONDS = 5;

/** A session and what was learned through it; a new session comes with a new store. */
interface Connection {
  readonly session: Session;
  readonly store: Store;
}

export class WorkerDatabase {
  readonly #config: Config;
  readonly #telemetry: WorkerTelemetry;
  readonly #onLost: () => void;
  #connection: Connection | undefined;

  /** @param onLost is called when the server or the network ends the connection */
  constructor(config: Config, telemetry: WorkerTelemetry, onLost: () => void) {
    this.#config = config;
    this.#telemetry = telemetry;
    this.#onLost = onLost;
  }

  /** Undefined before `connect`, and after a `renew` that gave the connection up. */
  get connection(): Connection | undefined {
    return this.#connection;
  }

  get isConnected(): boolean {
    return this.#connection !== undefined && !this.#connection.session.isLost;
  }

  /** The database's clock, ms since 1970; this machine's without a connection. */
  now(): number {
    return this.#connection?.session.now() ?? Date.now();
  }

  /** @throws what `Session.open` throws */
  async connect(): Promise<void> {
    const session = await Session.open(this.#config.database, {
      role: "worker",
      consumerGroup: this.#config.kafka.consumerGroup,
      onLost: () => {
        this.#telemetry.databaseLost();
        this.#onLost();
      },
    });
    this.#telemetry.databaseConnected(session.backendPid);
    this.#connection = { session, store: this.#makeStore(session) };
  }

  /** After a failure: replaces the store, and gives the session up unless it is certainly intact. */
  async renew(cause: ResyncCause): Promise<void> {
    const session = this.#connection?.session;
    if (session === undefined) return;
    if (cause === "connection" || session.isLost) {
      session.destroy();
      this.#telemetry.databaseLost();
      this.#connection = undefined;
      return;
    }
    this.#connection = { session, store: this.#makeStore(session) };
    if (cause === "blocked") {
      const ended = await session.run((sql) => endStuckPeers(sql, STUCK_PEER_SECONDS)).catch(() => []);
      if (ended.length > 0) this.#telemetry.stuckPeersEnded(ended);
    }
  }

  async close(): Promise<void> {
    await this.#connection?.session.close();
  }

  #makeStore(session: Session): Store {
    const { saveRawEvents, copyRawEvents, hourGraceMinutes } = this.#config.consumer;
    return new Store(session, { saveRawEvents, copyRawEvents, hourGraceMs: hourGraceMinutes * 60_000 });
  }
}
