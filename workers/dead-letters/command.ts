// What every command on dead letters has: a session, the selected letters, and where its output goes.

import type { Config } from "../../shared/config/config.ts";
import { Backoff } from "../../shared/runtime/backoff.ts";
import { codeOf } from "../../shared/runtime/errors.ts";
import type { StopSignal } from "../../shared/runtime/stop-signal.ts";
import type { LetterSelection } from "../../shared/store/dead-letters/selection.ts";
import { FenceFailed } from "../../shared/store/offsets.ts";
import { classify } from "../../shared/store/sqlstate.ts";
import type { Session } from "../../shared/store/session.ts";

export interface Command {
  readonly session: Session;
  readonly config: Config;
  readonly stop: StopSignal;
  readonly selection: LetterSelection;
  readonly isDryRun: boolean;
  readonly isJson: boolean;
}

/** The client's deadline for a transaction of a command. */
export const DEADLINE_MS = 60_000;

/** How often in a row a transaction may be ended by a deadlock or wait for a lock in vain. */
const MAX_CONFLICTS = 20;

/**
 * Repeats what has lost a conflict with another session.
 * @returns undefined where a stop was requested meanwhile
 */
export async function throughConflicts<Result>(
  { stop }: Command,
  body: () => Promise<Result>,
): Promise<Result | undefined> {
  const conflicts = new Backoff(50, 2000);
  for (;;) {
    try {
      return await body();
    } catch (error) {
      if (!isConflict(error, conflicts.attempts)) throw error;
      await stop.orStopped(Bun.sleep(conflicts.next()));
      if (stop.isRequested) return undefined;
    }
  }
}

function isConflict(error: unknown, conflicts: number): boolean {
  // Somebody else has settled these letters, so there is an end to it.
  if (error instanceof FenceFailed) return true;
  const kind = classify(error);
  return (kind === "transient" || kind === "blocked") && conflicts < MAX_CONFLICTS;
}

/** Writes to standard output, and waits until it is written. @returns false where the reader has closed the pipe */
export async function print(text: string): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  // Without a listener the error would end the process.
  if (process.stdout.listenerCount("error") === 0) process.stdout.on("error", () => undefined);
  process.stdout.write(text, (error) => {
    if (error === undefined || error === null) resolve(true);
    else if (codeOf(error) === "EPIPE") resolve(false);
    else reject(error);
  });
  return await promise;
}

export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
