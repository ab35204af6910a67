// Lists faults that can be planted in a copy of the program, to show that a test would find them.

/** A text that stands exactly once in a file, and what it becomes. */
export interface Edit {
  readonly file: string;
  readonly text: string;
  readonly replacement: string;
}

/** By name: the edits that plant a fault. A source that no longer says the text of an edit fails the test of this list. */
export const MUTANTS = {
  "fence off": [
    {
      file: "shared/store/offsets.ts",
      text: "if (row?.next_offset !== span.from) {",
      replacement: "if (row === undefined) {",
    },
    {
      file: "shared/store/offsets.ts",
      text: "and o.closed_at is null and o.next_offset = b.from_offset\n",
      replacement: "and o.closed_at is null\n",
    },
    { file: "shared/store/offsets.ts", text: "    for update of o\n", replacement: "" },
    { file: "shared/store/positions.ts", text: "    for update of o skip locked\n", replacement: "" },
  ],
  "answer of COMMIT ignored": [
    {
      file: "workers/consumer/batch-committer.ts",
      text: "return () => this.#onFailed(session, batch, isRetry, error);",
      replacement: "return () => (void error, this.#surroundings.intake.release(batch));",
    },
  ],
  "cache kept across sessions": [
    {
      file: "shared/store/store.ts",
      text: "  #usersEpoch: number | undefined;\n",
      replacement: "  #usersEpoch: number | undefined = 0;\n",
    },
    {
      file: "shared/store/store.ts",
      text: "readonly #users = new KnownUsers();",
      replacement: "readonly #users: KnownUsers;",
    },
    {
      file: "shared/store/store.ts",
      text: "    this.#options = options;\n",
      replacement:
        "    this.#options = options;\n    this.#users = kept.get(options) ?? new KnownUsers();\n    kept.set(options, this.#users);\n",
    },
    {
      file: "shared/store/store.ts",
      text: "export class Store {\n",
      replacement: "const kept = new WeakMap<StoreOptions, KnownUsers>();\nexport class Store {\n",
    },
  ],
  "placing before committing": [
    {
      file: "workers/consumer/partition-worker.ts",
      text: "const isCommitDue = dueAtMs !== undefined && dueAtMs <= now;",
      replacement:
        'const isCommitDue = dueAtMs !== undefined && dueAtMs <= now && this.#assignment.in("awaiting_offset").length === 0;',
    },
  ],
  "paused not cleared": [
    {
      file: "workers/consumer/partition-worker.ts",
      text: "    if (this.#isWell()) this.#recovery.resume(now);\n",
      replacement: "",
    },
  ],
  "epoch ignored": [
    {
      file: "workers/consumer/assignment.ts",
      text: "    return { topic, partition, offset: stored, leaderEpoch };\n",
      replacement: "    return { topic, partition, offset: stored };\n",
    },
  ],
  "COPY proof dropped": [
    { file: "shared/store/raw-events.ts", text: '    await tx.unsafe("select 1");\n', replacement: "" },
  ],
  "sort dropped": [
    {
      file: "shared/store/hourly.ts",
      text: '  order by d.aggregation_hour, d.event_type collate "C"\n',
      replacement: "",
    },
  ],
  "cut-off not compared": [
    {
      file: "shared/store/offsets.ts",
      text: '    and ${stateCondition("$13", "$14")}`;',
      replacement: "`;",
    },
  ],
  "sealed without a lock": [
    {
      file: "shared/store/retention/cutoff.ts",
      text: "    limit $1\n    for update\n",
      replacement: "    limit $1\n",
    },
  ],
  "topic check dropped": [
    {
      file: "workers/consumer/batch-committer.ts",
      text: "const proof = assertSameTopics(kafka, batch);",
      replacement: "const proof = Promise.resolve();",
    },
  ],
} as const satisfies Readonly<Record<string, readonly Edit[]>>;

export type MutantName = keyof typeof MUTANTS;

export const MUTANT_NAMES = Object.keys(MUTANTS) as MutantName[];
