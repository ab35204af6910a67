// Holds the worker's session with PostgreSQL: opens it, and after a failure keeps or replaces it.

import type { WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";
import type { DatabaseWork } from "./database-work.ts";
import type { DatabaseSession, WorkerPorts } from "./ports.ts";

/**
 * An idle session is asked for an answer this often. Where the network drops its packets, nothing else tells that it has
 * ended, and a worker without new records would not learn of a rewind.
 */
const PROBE_EVERY_MS = 10_000;

export class SessionHolder {
  readonly #ports: Pick<WorkerPorts, "database" | "notifier">;
  readonly #work: DatabaseWork;
  readonly #telemetry: WorkerTelemetry;
  #session: DatabaseSession | undefined;
  /** Connected, but the loop has not taken it yet. */
  #arrived: DatabaseSession | undefined;
  #isClosed = false;

  constructor(
    ports: Pick<WorkerPorts, "database" | "notifier">,
    work: DatabaseWork,
    telemetry: WorkerTelemetry,
  ) {
    this.#ports = ports;
    this.#work = work;
    this.#telemetry = telemetry;
  }

  /** The session, also where it is lost; undefined while there is none. */
  get current(): DatabaseSession | undefined {
    return this.#session;
  }

  get isConnected(): boolean {
    return this.#session !== undefined && !this.#session.isLost;
  }

  /** Begins to connect. @param nowMs monotonic */
  connect(nowMs: number): void {
    this.#work.begin({ kind: "connecting", sinceMs: nowMs }, async () => {
      const session = await this.#ports.database.connect(() => this.#ports.notifier.notify());
      // The loop may have ended in the meantime, or end before it takes the outcome.
      if (this.#isClosed) session.destroy();
      else this.#arrived = session;
      return () => {
        this.#arrived = undefined;
        this.#session = session;
        this.#telemetry.databaseConnected(session.backendPid);
      };
    });
  }

  /** When the idle session is to be asked, ms of the monotonic clock; undefined where it works, or there is none. */
  probeDueAtMs(): number | undefined {
    const { current: work } = this.#work;
    return this.#session === undefined || work.kind !== "idle" ? undefined : work.fromMs + PROBE_EVERY_MS;
  }

  /** Begins to ask the session for an answer. */
  probe(nowMs: number): void {
    this.#work.begin({ kind: "probing", sinceMs: nowMs }, async () => {
      await this.#session?.probe();
      return () => undefined;
    });
  }

  /**
   * Forgets all that was learned of the database, after a failure.
   * @param isSuspect whether the session may be the cause; then it is ended
   */
  reset(isSuspect: boolean): void {
    const session = this.#session;
    if (session === undefined) return;
    if (!isSuspect && !session.isLost) return session.forget();
    session.destroy();
    this.#session = undefined;
    this.#telemetry.databaseLost();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#arrived?.destroy();
    await this.#session?.close();
  }
}
