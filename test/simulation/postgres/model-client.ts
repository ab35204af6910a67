// Models a process that uses the database: it opens sessions, and dies with all of them.

import type { DatabaseConfig } from "../../../shared/config/config.ts";
import type { SessionOptions } from "../../../shared/store/session.ts";
import { ModelSession } from "./model-session.ts";
import type { PostgresModel } from "./postgres-model.ts";
import type { Scheduler, Timer } from "./scheduler.ts";

export class ModelClient {
  readonly server: PostgresModel;
  /** Called when the client begins a COPY, whose data follow when the server has answered. */
  onCopy: (() => void) | undefined;
  readonly #process: Scheduler;
  readonly #sessions = new Set<ModelSession>();

  /** @param process runs what the client plans; what it holds back while the process is stopped arrives later */
  constructor(server: PostgresModel, process: Scheduler) {
    this.server = server;
    this.#process = process;
  }

  /** Opens a session; the second parameter of `makePostgresPort`. */
  readonly open = async (
    _database: DatabaseConfig | undefined,
    options: SessionOptions,
  ): Promise<ModelSession> => {
    const session = new ModelSession(this, options);
    this.#sessions.add(session);
    await session.connect();
    return session;
  };

  /** The process is killed: what it has sent still arrives, and then the end of each connection. */
  kill(): void {
    for (const session of this.#sessions) session.vanish();
  }

  /** Forgets a session that has ended. */
  forget(session: ModelSession): void {
    this.#sessions.delete(session);
  }

  after(ms: number, run: () => void): Timer {
    return this.#process.after(ms, run);
  }
}
