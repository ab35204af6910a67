// Connects a worker to PostgreSQL: one session, and one store that remembers what that session committed.

import type { DatabaseConfig } from "../../shared/config/config.ts";
import { assertStillOurs, endStuckPeers } from "../../shared/store/database-owner.ts";
import { skipGap } from "../../shared/store/offsets.ts";
import { enterPartitions, readPositions } from "../../shared/store/positions.ts";
import { startReading } from "../../shared/store/readings.ts";
import { Session, type SessionOptions, type StoreSession } from "../../shared/store/session.ts";
import { Store, type StoreOptions } from "../../shared/store/store.ts";
import type { DatabasePort, DatabaseSession } from "./ports.ts";

/** A peer that has sat in a transaction this long, waiting for its own client, is ended when it blocks us. */
const STUCK_PEER_SECONDS = 5;

export interface PostgresOptions {
  readonly database: DatabaseConfig;
  readonly consumerGroup: string;
  readonly store: StoreOptions;
}

/** Opens a session, as `Session.open` does. */
export type OpenSession = (database: DatabaseConfig, options: SessionOptions) => Promise<StoreSession>;

/** @param open opens a session; another function than the default leads to something other than a server */
export function makePostgresPort(
  options: PostgresOptions,
  open: OpenSession = (database, session) => Session.open(database, session),
): DatabasePort {
  return { connect: (onLost) => connect(options, open, onLost) };
}

async function connect(
  { database, consumerGroup, store: storeOptions }: PostgresOptions,
  open: OpenSession,
  onLost: () => void,
): Promise<DatabaseSession> {
  const session = await open(database, { role: "worker", consumerGroup, onLost });
  let store = new Store(session, storeOptions);
  return {
    backendPid: session.backendPid,
    get isLost() {
      return session.isLost;
    },
    now: () => session.now(),
    commit: (batch, proof) => store.commit(batch, proof),
    readPositions: (keys) =>
      session.run(async (sql) => {
        await assertStillOurs(sql, consumerGroup);
        return readPositions(sql, keys);
      }),
    enterPartitions: (starts) => session.run((sql) => enterPartitions(sql, starts)),
    skipGap: (from, to) => session.run((sql) => skipGap(sql, from, to)),
    startReading: (from, at, leaderEpoch) => session.run((sql) => startReading(sql, from, at, leaderEpoch)),
    probe: () => session.run(async (sql) => void (await sql.unsafe("select 1"))),
    endStuckPeers: () => session.run((sql) => endStuckPeers(sql, STUCK_PEER_SECONDS)),
    forget() {
      store = new Store(session, storeOptions);
    },
    destroy: () => session.destroy(),
    close: () => session.close(),
  };
}
