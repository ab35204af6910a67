// Prunes the database of a history, as the housekeeping of a consumer does.

import { errorMessage } from "../../shared/runtime/errors.ts";
import { raiseCutoffs, sealHours } from "../../shared/store/retention/cutoff.ts";
import type { Transaction } from "../../shared/store/session.ts";
import { PRUNE_EVERYTHING } from "./postgres/statements/retention.ts";
import type { World } from "./world.ts";

const DEADLINE_MS = 20_000;

/** Raises the cut-off to some hours ago, seals and prunes, each in a transaction; it may fail between any two of them. */
export async function prune({ postgres, choices, counters, trace }: World, hours: number): Promise<void> {
  const transact = async (body: (tx: Transaction) => Promise<unknown>): Promise<void> => {
    const session = await postgres.client().open({} as never, { role: "main", consumerGroup: "simulated" });
    await session.transaction(DEADLINE_MS, body);
    await session.close();
  };
  const days = hours / 24;
  try {
    await transact((tx) => raiseCutoffs(tx, { rawEvents: days, hourlyUsers: days }));
    for (let rounds = 1 + choices.below(3); rounds > 0; rounds--) {
      await transact((tx) => sealHours(tx, 1 + choices.below(20)));
      await transact(async (tx) => {
        const { count } = await tx.unsafe(PRUNE_EVERYTHING);
        if (count > 0) counters.count("pruned");
        trace.note("retention", `prunes ${count} rows`);
      });
    }
  } catch (error) {
    trace.note("retention", `fails: ${errorMessage(error)}`);
  }
}
