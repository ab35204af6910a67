// Measures how fast bad records of a topic are mended by one replay, and how long the list of a million letters takes.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Static, Type } from "typebox";
import { count } from "../../shared/text/format.ts";
import type { TestDatabase } from "../../test/support/postgres.ts";
import { Program } from "../../test/support/process.ts";
import type { Bench, BenchRecord } from "../bench.ts";
import { toDigits } from "../columns.ts";
import { simulated } from "../records.ts";
import type { Scenario } from "../scenario.ts";
import { Count, Rate, closed } from "../shapes.ts";

const LettersShape = Type.Object(
  {
    /** Mended and stored by one replay, its start included. */
    letters: Count,
    lettersPerSecond: Rate,
    /** Letters in the table while the newest are listed. */
    listed: Count,
    listSeconds: Rate,
  },
  closed,
);
type Letters = Static<typeof LettersShape>;

export const lettersScenario: Scenario<typeof LettersShape> = {
  about: "mends a topic's bad records, a tenth, by one replay of dead letters; lists a million dead letters",
  shape: LettersShape,
  run: (bench, { events = 200_000 }) => measureLetters(bench, events),
  lines,
};

/** Every so many records one has its user under another name. */
const BAD_EVERY = 10;
const LISTED = 1_000_000;

const MEND = "export default ({ uid, ...event }: Record<string, unknown>) => ({ ...event, user_id: uid });\n";

function* withBad(events: number): Generator<BenchRecord> {
  let index = 0;
  for (const { key, value } of simulated(events)) {
    yield { key, value: index++ % BAD_EVERY === 0 ? value.replace('"user_id":', '"uid":') : value };
  }
}

/** @param events in the topic; a tenth of them are bad */
async function measureLetters(bench: Bench, events: number): Promise<Letters> {
  await using pipeline = await bench.pipeline(await bench.topic());
  const { database } = pipeline;
  await bench.fill(pipeline.topic, withBad(events));
  const consumer = pipeline.consumer();
  await pipeline.until("all is consumed", async () => (await pipeline.consumed()) >= events, 600_000);
  await consumer.drain();
  const folder = await mkdtemp(join(tmpdir(), "bench-"));
  try {
    const edit = join(folder, "mend.ts");
    await Bun.write(edit, MEND);
    const { output, seconds } = await timed(database, ["replay", "--all", "--edit", edit, "--json"]);
    const { stored } = JSON.parse(output) as { stored: number };
    const { exitCode, violated } = await pipeline.ledger();
    if (exitCode !== 0) throw new Error(`check fails after the replay: ${violated.join("; ")}`);
    await addLetters(database);
    const list = await timed(database, ["list"]);
    return {
      letters: stored,
      lettersPerSecond: stored / seconds,
      listed: LISTED,
      listSeconds: list.seconds,
    };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The whole program, its start included. */
async function timed(
  { env }: TestDatabase,
  args: readonly string[],
): Promise<{ output: string; seconds: number }> {
  const startedAt = performance.now();
  await using program = Program.start("workers/dead-letters.ts", { args, env });
  const code = await program.exit(600_000);
  if (code !== 0) throw new Error(`dead-letters ${args[0]} ended with ${code}:\n${program.output}`);
  return { output: program.stdout, seconds: (performance.now() - startedAt) / 1000 };
}

/** Letters of a few reasons, seen over some days. */
async function addLetters({ sql }: TestDatabase): Promise<void> {
  await sql`
    insert into dead_letter_events (topic, topic_id, partition, "offset", key, value, stage, reason, error, first_seen_at,
      max_future_skew_seconds)
    select 'bench', 'bench', n % 6, n, 'user', convert_to(repeat('x', 300), 'UTF8'), 'validate',
      (array['missing_field', 'not_json', 'wrong_type', 'tombstone'])[1 + n % 4], 'user_id: missing',
      now() - make_interval(secs => n / 4), 86400
    from generate_series(1, ${LISTED}) n`;
  // As autovacuum does some minutes later.
  await sql`vacuum analyze dead_letter_events`;
}

function lines({ letters, lettersPerSecond, listed, listSeconds }: Letters): string[] {
  return [
    "",
    `letters: ${count(letters)} mended by one replay at ${count(lettersPerSecond)}/s; the list of ${count(listed)} in ${toDigits(listSeconds, 2)} s; check holds`,
  ];
}
