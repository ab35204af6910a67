// Measures how fast a bare COPY writes the rows that a consumer sent: the reference of the drain.
import { cpuUsage } from "node:process";
import type { Writable } from "node:stream";
import postgres from "postgres";
import type { TestDatabase } from "../test/support/postgres.ts";
import type { Bench } from "./bench.ts";
import { consumerRound, type TopicContent } from "./consumer-round.ts";
import { CopyCapture } from "./copy-capture.ts";
import { treeCpuMicros } from "./processes.ts";
import type { CopyRound } from "./shapes.ts";

/** Bytes written to the socket at a time; other sizes are as fast. */
const CHUNK_BYTES = 256 * 1024;
const DEADLINE_MS = 5 * 60_000;

/** All rows of a drain, as its consumer sent them. */
export interface SentRows {
  /** The input of one COPY (FORMAT binary) for each connection. */
  readonly inputs: readonly Uint8Array[];
  readonly rows: number;
}

/** Drains a topic once more, and keeps what the consumer sends to COPY. */
export async function captureRows(bench: Bench, content: TopicContent): Promise<SentRows> {
  await using capture = await CopyCapture.start(bench.postgres);
  await consumerRound(bench, content, { DB_PORT: String(capture.port) });
  return { inputs: capture.inputs(), rows: content.records };
}

/**
 * Copies the same bytes into the same table, empty and with its indexes, over as many connections as the consumer has
 * workers: one COPY (FORMAT binary) each, synchronous_commit off, rows in memory. Measured on these rows, psql's \copy
 * and COPY FROM a file on the server are as fast, and the text format is a third slower.
 */
export async function copyRound(bench: Bench, { inputs, rows }: SentRows): Promise<CopyRound> {
  await using database = await bench.database();
  const connections = await Promise.all(inputs.map(() => connect(database)));
  const postgresBefore = await treeCpuMicros(bench.postgres.pid!);
  const clientBefore = cpuUsage();
  const startedAt = performance.now();
  await withDeadline(Promise.all(connections.map((sql, part) => copyIn(sql, inputs[part]!))));
  const seconds = (performance.now() - startedAt) / 1000;
  const client = cpuUsage(clientBefore);
  const postgresMicros = (await treeCpuMicros(bench.postgres.pid!)) - postgresBefore;
  await Promise.all(connections.map((sql) => sql.end()));
  const [found] = await database.sql`select count(*)::int as rows from raw_events`;
  if (found?.["rows"] !== rows) throw new Error(`COPY stored ${found?.["rows"]} of ${rows} rows`);
  return {
    eventsPerSecond: rows / seconds,
    clientCpuMicrosPerEvent: (client.user + client.system) / rows,
    postgresCpuMicrosPerEvent: postgresMicros / rows,
  };
}

async function connect({ address, name }: TestDatabase): Promise<postgres.Sql> {
  const { host, port, user, password } = address;
  const sql = postgres({
    host,
    port,
    username: user,
    password,
    database: name,
    max: 1,
    onnotice: () => {},
  });
  await sql`set synchronous_commit = off`;
  return sql;
}

async function copyIn(sql: postgres.Sql, content: Uint8Array): Promise<void> {
  const stream: Writable = await sql.unsafe("copy raw_events from stdin (format binary)").writable();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  stream.on("error", reject);
  stream.on("finish", resolve);
  for (let at = 0; at < content.length; at += CHUNK_BYTES) {
    const hasRoom = stream.write(content.subarray(at, at + CHUNK_BYTES));
    if (!hasRoom) await new Promise((drained) => stream.once("drain", drained));
  }
  stream.end();
  await promise;
}

/** postgres.js never settles a COPY that fails at its end. */
async function withDeadline(work: Promise<unknown>): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error("COPY did not end")), DEADLINE_MS);
  try {
    await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
