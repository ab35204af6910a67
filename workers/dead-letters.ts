// Lists, shows, replays, discards and exports dead letters: `bun run dead-letters COMMAND`.

import { type Config, loadConfig } from "../shared/config/config.ts";
import { ConfigurationError, FatalError } from "../shared/runtime/errors.ts";
import { runProgram } from "../shared/runtime/run-program.ts";
import type { StopSignal } from "../shared/runtime/stop-signal.ts";
import type { LetterPosition } from "../shared/store/dead-letters/letter-pages.ts";
import { assertOwnBackend } from "../shared/store/pooler.ts";
import { assertRights, CONSUMER_RIGHTS } from "../shared/store/rights.ts";
import { Session, type SessionOptions } from "../shared/store/session.ts";
import { classify, describeFault } from "../shared/store/sqlstate.ts";
import { explainUnavailable } from "../shared/store/unavailable.ts";
import { type CommandLine, OPTIONS, readCommandLine } from "./dead-letters/command-line.ts";
import { type Command, DEADLINE_MS, say } from "./dead-letters/command.ts";
import { discard } from "./dead-letters/discard.ts";
import { type Edit, loadEdit } from "./dead-letters/edit.ts";
import { exportLetters } from "./dead-letters/export.ts";
import { resolveLetterId } from "./dead-letters/letter-id.ts";
import { list } from "./dead-letters/list.ts";
import { replay } from "./dead-letters/replay.ts";
import { show } from "./dead-letters/show.ts";

const USAGE = `Usage: bun run dead-letters COMMAND [ID…] [options]

  list                      counts by state, reason and topic, then the newest letters
  show ID                   one letter: its origin, its error, what became of it, its bytes
  replay ID… | SELECTION    judges letters again and stores the events, in the database and not through Kafka
  discard ID… | SELECTION   closes letters for a reason; they stay in the table, and are counted
  export [ID…]              prints the values as lines of JSON that PRODUCER_INPUT takes

An ID is TOPIC/PARTITION/OFFSET, as list prints it. A SELECTION is --all or any of these, which hold together:

  --reason NAME[,NAME]  why the record was rejected           --since TIME, --until TIME  when it was first seen: a
  --topic NAME          where it came from                      time (2026-03-14T09:00:00Z), a date, or an age (30m, 2h)

  --edit FILE     replay: a TypeScript file whose default export mends a value: (value, letter) => value
  --rate N        replay: at most N letters a second
  --because TEXT  discard: the reason, which show prints
  --state NAME    list and export: open (default), stored, duplicate, discarded or all
  --limit N       list: how many letters (default: 20)
  --dry-run       says what would be done, and changes nothing
  --json          prints one JSON object; export: one for each letter, with all that is known of it

All commands can run while consumers run, and several at once. A replay or discard that was stopped or killed goes on
where it stopped when it is run again. Configured by environment variables (DB_*, MAX_FUTURE_SKEW_SECONDS,
SAVE_RAW_EVENTS, …; see config.example.env).

Exit code: 0 done, 1 letters were rejected again, or something failed, 2 wrong configuration or usage.
`;

await runProgram({ usage: USAGE, options: OPTIONS, isArgument: () => true }, async (stop, options, args) => {
  const line = readCommandLine(options, args, Date.now());
  const config = loadConfig(process.env, "check");
  for (const warning of config.warnings) say(warning);
  return await run(line, config, stop);
});

async function run(line: CommandLine, config: Config, stop: StopSignal): Promise<number> {
  const { database, kafka } = config;
  const edit = line.edit === undefined ? undefined : await loadEdit(line.edit);
  const isWriter = line.command === "replay" || line.command === "discard";
  const options: SessionOptions = { role: isWriter ? "main" : "check", consumerGroup: kafka.consumerGroup };
  try {
    const session = await Session.open(database, options);
    try {
      await assertOwnBackend(session, database, options);
      await assertRights(session.sql, isWriter ? CONSUMER_RIGHTS : ["SELECT"]);
      const keys = line.ids.length === 0 ? undefined : await resolve(session, line.ids);
      const { isDryRun, isJson } = line;
      const selection = { ...line.selection, keys };
      return await perform(line, edit, { session, config, stop, selection, isDryRun, isJson });
    } catch (error) {
      throw isWriter && classify(error) === "connection" ? interrupted(error) : error;
    } finally {
      await session.close();
    }
  } catch (error) {
    throw explained(error, config);
  }
}

async function perform(line: CommandLine, edit: Edit | undefined, command: Command): Promise<number> {
  switch (line.command) {
    case "list":
      return await list(command, line.limit);
    case "show":
      return await show(command);
    case "replay":
      return await replay(command, { edit, rate: line.rate });
    case "discard":
      return await discard(command, line.because);
    case "export":
      return await exportLetters(command);
  }
}

async function resolve(session: Session, ids: readonly LetterPosition[]) {
  return await session.transaction(DEADLINE_MS, async (tx) => {
    const keys = [];
    for (const id of ids) keys.push(await resolveLetterId(tx, id));
    return keys;
  });
}

function interrupted(error: unknown): FatalError {
  const sentence = `the connection to PostgreSQL is lost: ${describeFault(error)}. What was committed stays; run it again to go on`;
  return new FatalError(sentence, { cause: error });
}

function explained(error: unknown, { database }: Config): unknown {
  if (error instanceof FatalError || error instanceof ConfigurationError) return error;
  if (classify(error) !== "schema") return explainUnavailable(error, database);
  return new FatalError(
    `the tables are not as this version expects them: ${describeFault(error)}. A consumer of this version creates what is missing when it starts`,
    { cause: error },
  );
}
