// Lends one database session, opens it on first use, reopens it after it is lost, and closes it when it is idle.

import type { DatabaseConfig } from "../config/config.ts";
import { Session } from "./session.ts";
import type { SessionRole } from "./session-settings.ts";
import { ConnectionLost } from "./sqlstate.ts";

export interface LazySessionOptions {
  readonly database: DatabaseConfig;
  readonly role: SessionRole;
  readonly consumerGroup: string;
  /** Closes the session this long after the last `open()`; longer than any use. By default it stays open. */
  readonly idleMs?: number;
  /** Reports the number of open connections at every change: 1 or 0. */
  readonly onChange?: (connections: 0 | 1) => void;
}

/**
 * One session for callers that keep no memory of the database between two uses: they may get another session at
 * any `open()`. A worker's memory belongs to its connection, so a worker opens a `Session` and keeps it.
 */
export class LazySession {
  readonly #options: LazySessionOptions;
  #session: Session | undefined;
  #opening: Promise<Session> | undefined;
  #idle: Timer | undefined;
  #isClosed = false;

  constructor(options: LazySessionOptions) {
    this.#options = options;
  }

  /**
   * The open session, or a new one where there is none or it is lost.
   * @throws ConnectionLost after `close()`; else what `Session.open` throws
   */
  async open(): Promise<Session> {
    if (this.#isClosed) throw new ConnectionLost("the connection to PostgreSQL is closed");
    this.#restartIdleTimer();
    if (this.#session !== undefined && !this.#session.isLost) return this.#session;
    // Callers at the same time share one opening: of two sessions, one would never be closed.
    this.#opening ??= this.#connect().finally(() => (this.#opening = undefined));
    return await this.#opening;
  }

  /** Closes the session for good, also one that is being opened. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#release();
  }

  async #connect(): Promise<Session> {
    const { database, role, consumerGroup, onChange } = this.#options;
    const session = await Session.open(database, { role, consumerGroup, onLost: () => onChange?.(0) });
    this.#session = session;
    onChange?.(1);
    return session;
  }

  async #release(): Promise<void> {
    clearTimeout(this.#idle);
    await this.#opening?.catch(() => undefined);
    const session = this.#session;
    this.#session = undefined;
    if (session === undefined) return;
    if (!session.isLost) this.#options.onChange?.(0);
    await session.close();
  }

  #restartIdleTimer(): void {
    const { idleMs } = this.#options;
    if (idleMs === undefined) return;
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => void this.#release(), idleMs);
  }
}
