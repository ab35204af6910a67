// Runs the same steps on a real PostgreSQL and on the model, each up to where nothing moves any more.

import type { StoreSession } from "../../../../shared/store/session.ts";
import { openSession } from "../../../store/pipeline-database.ts";
import type { TestDatabase } from "../../../support/postgres.ts";
import { seededRandom } from "../../../support/seeded-random.ts";
import { VirtualTime } from "../../virtual-time.ts";
import { PostgresModel } from "../postgres-model.ts";
import { serverError } from "../server-error.ts";
import { Actor } from "./actor.ts";
import { BYSTANDER } from "./operation.ts";

/** The bystander's lock_timeout. */
const IMPATIENCE_MS = 30;
/** Longer than that, and much shorter than the other time limits. */
const SETTLED_MS = 200;

async function makeActors(sessions: readonly StoreSession[]): Promise<Actor[]> {
  await sessions[BYSTANDER]!.sql.unsafe("select set_config('lock_timeout', $1::text, false)", [
    String(IMPATIENCE_MS),
  ]);
  return sessions.map((session, index) => new Actor(session, index === BYSTANDER));
}

/** A real server. */
export class RealSide {
  readonly database: TestDatabase;
  readonly actors: readonly Actor[];

  private constructor(database: TestDatabase, actors: readonly Actor[]) {
    this.database = database;
    this.actors = actors;
  }

  static async open(database: TestDatabase, count: number): Promise<RealSide> {
    const opening = Array.from({ length: count }, () => openSession(database));
    return new RealSide(database, await makeActors(await Promise.all(opening)));
  }

  /** Waits until every step is done or waits for a lock of a session that is not moving. */
  async settle(): Promise<void> {
    for (;;) {
      // Noted before the locks are read: a step that ends meanwhile may let another one go on.
      const busy = this.actors.filter(({ isFree }) => !isFree);
      const waiting = await this.#waiting();
      const moving = busy.filter(
        (actor) => actor === this.actors[BYSTANDER] || !waiting.has(actor.session.backendPid),
      );
      if (moving.length === 0) return;
    }
  }

  /** Waits until the server has ended the step of one of the actors of a deadlock. @returns its index */
  async deadlockVictim(actors: readonly number[]): Promise<number> {
    for (;;) {
      await this.settle();
      const outcomes = actors.map((actor) => this.actors[actor]!.outcome);
      // The driver does not report the error of a COPY.
      for (const end of ["error 40P01", "CopyFailed: the COPY failed"]) {
        const victim = outcomes.indexOf(end);
        if (victim >= 0) return actors[victim]!;
      }
    }
  }

  end(): void {
    for (const { session } of this.actors) session.destroy();
  }

  async #waiting(): Promise<Set<number>> {
    const rows = await this.database.sql<{ pid: number }[]>`select pid from pg_locks where not granted`;
    return new Set(rows.map(({ pid }) => pid));
  }
}

/** The model. */
export class ModelSide {
  readonly model: PostgresModel;
  readonly actors: readonly Actor[];
  readonly #time: VirtualTime;

  private constructor(model: PostgresModel, time: VirtualTime, actors: readonly Actor[]) {
    this.model = model;
    this.#time = time;
    this.actors = actors;
  }

  static async open(count: number, consumerGroup: string): Promise<ModelSide> {
    const time = new VirtualTime(seededRandom(1));
    // The test says when a deadlock ends, because it takes the victim that the real server has taken.
    const model = new PostgresModel(time, {
      consumerGroup,
      epochMs: Date.now(),
      deadlockTimeoutMs: Infinity,
    });
    const client = model.client();
    const opening = Array.from({ length: count }, () =>
      client.open(undefined, { role: "worker", consumerGroup }),
    );
    const actors = Promise.all(opening).then(makeActors);
    time.runUntil(SETTLED_MS);
    return new ModelSide(model, time, await actors);
  }

  /** Runs everything that is due before the long time limits. */
  settle(): void {
    this.#time.runUntil(this.#time.nowMs() + SETTLED_MS);
  }

  /** The actors that wait for each other. */
  deadlocked(): number[] {
    return this.actors.flatMap(({ session }, index) =>
      (this.model.backend(session.backendPid)?.transaction?.deadlock().length ?? 0) > 0 ? [index] : [],
    );
  }

  endDeadlock(actor: number): void {
    const { session } = this.actors[actor]!;
    this.model.backend(session.backendPid)?.transaction?.cancelWait(serverError("40P01"));
  }
}
