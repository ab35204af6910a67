// Lets one session take one step at a time, so that the steps of several sessions can be put in any order.

import type { StoreSession } from "../../../../shared/store/session.ts";
import { Store } from "../../../../shared/store/store.ts";
import { STORE_OPTIONS } from "../../../store/pipeline-database.ts";
import { isTransactionStep, type Operation, type TransactionStep } from "./operation.ts";
import { describeError, performAlone, performInTransaction, type PositionOf, RolledBack } from "./perform.ts";

const DEADLINE_MS = 60_000;

interface Command {
  readonly step: TransactionStep;
  readonly positionOf: PositionOf;
  readonly done: (outcome: string) => void;
}

export class Actor {
  readonly session: StoreSession;
  readonly #copies: boolean;
  #store: Store;
  /** Takes the next step of the open transaction; undefined where there is none. */
  #command: ((command: Command) => void) | undefined;
  /** What came of the last step; undefined while it is not done. */
  outcome: string | undefined = "idle";

  /** @param copies whether its whole batches go by COPY; one that a deadlock ends is repeated, which hides the deadlock */
  constructor(session: StoreSession, copies: boolean) {
    this.session = session;
    this.#copies = copies;
    this.#store = this.#newStore();
  }

  get isInTransaction(): boolean {
    return this.#command !== undefined;
  }

  /** True where the last step is done, so that the next one can begin. */
  get isFree(): boolean {
    return this.outcome !== undefined;
  }

  /** Whether an operation makes sense now: within a transaction, or outside. */
  canTake(operation: Operation): boolean {
    if (!this.isFree) return false;
    if (!isTransactionStep(operation)) return !this.isInTransaction;
    return this.isInTransaction || (operation.kind !== "commit" && operation.kind !== "rollback");
  }

  /** Forgets what it did in an earlier run. */
  reset(): void {
    this.#store = this.#newStore();
    this.outcome = "idle";
  }

  /** Begins a step. @returns when it is done */
  take(operation: Operation, positionOf: PositionOf): Promise<void> {
    this.outcome = undefined;
    const done = Promise.withResolvers<void>();
    const settle = (outcome: string): void => {
      this.outcome = outcome;
      done.resolve();
    };
    if (isTransactionStep(operation)) {
      if (this.#command === undefined) this.#begin();
      this.#command!({ step: operation, positionOf, done: settle });
    } else {
      performAlone(this.session, this.#store, operation, positionOf).then(
        (value) => settle(describe(value)),
        (error: unknown) => {
          // As a worker does after a failure: nothing is known any more.
          this.#store = this.#newStore();
          settle(describeError(error));
        },
      );
    }
    return done.promise;
  }

  #begin(): void {
    const commands: Command[] = [];
    let onCommand = Promise.withResolvers<void>();
    this.#command = (command) => {
      commands.push(command);
      onCommand.resolve();
    };
    let last: Command | undefined;
    const end = (outcome: string): void => {
      this.#command = undefined;
      last?.done(outcome);
    };
    this.session
      .transaction(DEADLINE_MS, async (tx) => {
        for (;;) {
          await onCommand.promise;
          onCommand = Promise.withResolvers();
          const command = (last = commands.shift()!);
          if (command.step.kind === "commit") return;
          if (command.step.kind === "rollback") throw new RolledBack("rolled back");
          await performInTransaction(tx, this.session, command.step, command.positionOf).then(
            (value) => command.done(describe(value)),
            (error: unknown) => command.done(describeError(error)),
          );
        }
      })
      .then(
        () => end("committed"),
        (error: unknown) => end(describeError(error)),
      );
  }

  #newStore(): Store {
    return new Store(this.session, { ...STORE_OPTIONS, copyRawEvents: this.#copies });
  }
}

function describe(value: unknown): string {
  return JSON.stringify(value) ?? "done";
}
