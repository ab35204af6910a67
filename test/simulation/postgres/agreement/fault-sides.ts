// Runs a scenario with faults on a real PostgreSQL, and on the model under virtual time.

import type { SessionOptions, StoreSession } from "../../../../shared/store/session.ts";
import { enter, GROUP, openSession, pipelineDatabase } from "../../../store/pipeline-database.ts";
import { eventually } from "../../../support/eventually.ts";
import { seededRandom } from "../../../support/seeded-random.ts";
import { VirtualTime } from "../../virtual-time.ts";
import { PostgresModel } from "../postgres-model.ts";

/** A server with the partitions 0 to 2, and what a scenario does with it. */
export interface FaultSide {
  open(options?: Partial<SessionOptions>): Promise<StoreSession>;
  until(what: string, condition: () => boolean): Promise<void>;
  /** Waits until the session's statement waits for a lock. */
  untilBlocked(session: StoreSession): Promise<void>;
  terminate(session: StoreSession): Promise<void>;
  /** All further transactions of this session are read-only, as on a server that accepts no changes. */
  makeReadOnly(session: StoreSession): Promise<void>;
  /** A column of hourly_aggregations that the store needs is gone, until the function that it returns is called. */
  breakHours(): Promise<() => Promise<void>>;
}

export type Scenario = (side: FaultSide) => Promise<unknown>;

export async function playOnServer(scenario: Scenario): Promise<unknown> {
  await using database = await pipelineDatabase();
  const { sql } = database;
  await sql`update pipeline_state set consumer_group = ${GROUP}`;
  const sessions: StoreSession[] = [];
  const side: FaultSide = {
    async open(options) {
      const session = await openSession(database, options);
      sessions.push(session);
      return session;
    },
    until: async (what, condition) => void (await eventually(what, condition)),
    untilBlocked: async ({ backendPid }) =>
      void (await eventually(
        "it waits for a lock",
        async () => (await sql`select 1 from pg_locks where pid = ${backendPid} and not granted`).length > 0,
      )),
    terminate: async ({ backendPid }) => void (await sql`select pg_terminate_backend(${backendPid})`),
    makeReadOnly: async (session) =>
      void (await session.sql.unsafe("set default_transaction_read_only = on")),
    async breakHours() {
      await sql`alter table hourly_aggregations rename column unsaved_events to renamed`;
      return async () =>
        void (await sql`alter table hourly_aggregations rename column renamed to unsaved_events`);
    },
  };
  await enter(await openSession(database), 3);
  try {
    return await scenario(side);
  } finally {
    for (const session of sessions) session.destroy();
  }
}

export async function playOnModel(scenario: Scenario): Promise<unknown> {
  const time = new VirtualTime(seededRandom(7));
  const model = new PostgresModel(time, { consumerGroup: GROUP, epochMs: Date.now() });
  const open: FaultSide["open"] = (options) =>
    model.client().open(undefined, { role: "worker", consumerGroup: GROUP, ...options });
  const side: FaultSide = {
    open,
    async until(_, condition) {
      while (!condition()) await nextTurn();
    },
    async untilBlocked({ backendPid }) {
      while (model.backend(backendPid)?.transaction?.blocker === undefined) await nextTurn();
    },
    terminate: async ({ backendPid }) => model.terminate(backendPid),
    makeReadOnly: async () => void (model.faults.isReadOnly = true),
    async breakHours() {
      model.faults.schemaFaults.set("hourly_aggregations", "42703");
      return async () => model.faults.schemaFaults.clear();
    },
  };
  const end = { isReached: false };
  const played = open()
    .then((session) => enter(session as never, 3))
    .then(() => scenario(side))
    .finally(() => (end.isReached = true));
  while (!end.isReached) {
    time.runUntil(time.nowMs() + 5);
    await nextTurn();
  }
  return await played;
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
