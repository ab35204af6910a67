// Lists the commits whose programs made the tables that an upgrade starts from.

/** The last commit before the next file of sql/ was added. */
export interface Release {
  /** How many files of sql/ it knows. */
  readonly schema: number;
  readonly commit: string;
}

/** In order. `bun test/upgrade/make-dump.ts SCHEMA` makes the dump of one. */
export const RELEASES: readonly Release[] = [
  { schema: 1, commit: "9de9c9a1a6fe8795b012ec2269433902d5696bd0" },
  { schema: 2, commit: "f82adde9cedff49a0b4ef84ed39c6d1eb3b7c107" },
  { schema: 3, commit: "abad39d153f4b5e34f35bc3dff558c2c9c137e0e" },
  { schema: 4, commit: "4aa54f5063fee16bbcce2c6606b1165ca6022aea" },
  { schema: 5, commit: "c75defd1976e81f3f6c68fe932be62a335765730" },
];
