// Executes the statements that concern sessions: the claim on the database, stuck peers, and settings.

import { texts } from "../array-values.ts";
import { NOTHING, type Statement } from "../statement.ts";
import { visibleState } from "./pipeline-state.ts";

export const consumerGroupStatement: Statement = {
  name: "read consumer group",
  text: `select consumer_group from pipeline_state`,
  table: "pipeline_state",
  writes: false,
  run: (context) => ({ rows: [{ consumer_group: visibleState(context).consumerGroup }], count: 1 }),
};

export const endStuckPeersStatement: Statement = {
  name: "end stuck peers",
  text: `
    with stuck as materialized (
      select pid from pg_stat_activity
      where datname = current_database()
        and application_name like any($1::text[])
        and pid <> pg_backend_pid()
        and xact_start is not null
        and wait_event_type = 'Client'
        and greatest(state_change, query_start) < clock_timestamp() - make_interval(secs => $2::float8)
    )
    select pid from stuck where pg_terminate_backend(pid)`,
  table: undefined,
  writes: false,
  run({ stuckPeers, terminate }, [patterns, seconds]) {
    const prefixes = texts(patterns as string).map((pattern) => pattern.slice(0, -1));
    const pids = stuckPeers(prefixes, Number(seconds));
    for (const pid of pids) terminate(pid);
    return { rows: pids.map((pid) => ({ pid })), count: pids.length };
  },
};

export const endWorkersStatement: Statement = {
  name: "end worker sessions",
  text: `
    with workers as materialized (
      select pid from pg_stat_activity
      where datname = current_database() and application_name like $1
    )
    select pid from workers where pg_terminate_backend(pid)`,
  table: undefined,
  writes: false,
  run({ sessions, terminate }, [pattern]) {
    const pids = sessions((pattern as string).slice(0, -1));
    for (const pid of pids) terminate(pid);
    return { rows: pids.map((pid) => ({ pid })), count: pids.length };
  },
};

export const greetingStatement: Statement = {
  name: "greeting",
  // In place of the statement of session-settings.ts: a server of the model has the settings that a session needs.
  text: `greeting`,
  table: undefined,
  writes: false,
  run: ({ transaction, backendPid, clockMs }) => ({
    rows: [
      {
        pid: backendPid,
        now_ms: clockMs(),
        transaction_read_only: transaction.isReadOnly ? "on" : "off",
      },
    ],
    count: 1,
  }),
};

export const nothingStatement: Statement = {
  name: "nothing",
  text: `select 1`,
  table: undefined,
  writes: false,
  run: () => ({ rows: [{ "?column?": 1 }], count: 1 }),
};

export const roleStatement: Statement = {
  name: "set role",
  text: `set local role none`,
  table: undefined,
  writes: false,
  run: () => NOTHING,
};

export const lockTimeoutStatement: Statement = {
  name: "set lock timeout",
  text: `select set_config('lock_timeout', $1::text, false)`,
  table: undefined,
  writes: false,
  run({ setLockTimeout }, [ms]) {
    setLockTimeout(Number(ms));
    return NOTHING;
  },
};
