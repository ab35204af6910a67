// Sends one record of every hostile kind through a real topic: each is stored, a duplicate or a dead letter, as it must be.
import { describe, expect, test } from "bun:test";
import { CUT_BYTES } from "../../shared/pipeline/record-block.ts";
import { encodeHeaders } from "../../shared/pipeline/record-headers.ts";
import type { StoredEvent } from "../support/hostile/hostile-kind.ts";
import { HOSTILE_KINDS } from "../support/hostile/hostile-kinds.ts";
import { type HostileRecord, hostileRecords } from "../support/hostile/hostile-records.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { kafkaTest } from "../support/requirements.ts";

const TIMEOUT_MS = 180_000;

/** Short enough for the message of a failure. */
function digest(bytes: Uint8Array | null | undefined): string | null {
  if (bytes === null || bytes === undefined) return null;
  const hash = new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
  return bytes.length <= 200 ? Buffer.from(bytes).toString("latin1") : `${bytes.length} bytes, ${hash}`;
}

function eachKindOnce(): HostileRecord[] {
  return hostileRecords().take(HOSTILE_KINDS.length).toArray();
}

describe("hostile records", () => {
  test("are of many kinds, each with a name, and a kind that repeats an id follows an event", () => {
    const names = HOSTILE_KINDS.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(names.length).toBeGreaterThan(100);
    const repeated = HOSTILE_KINDS.flatMap(({ repeatsId }, index) => (repeatsId === true ? [index] : []));
    for (const index of repeated) expect(HOSTILE_KINDS[index - 1]!.verdict.place).not.toBe("dead letter");
  });

  kafkaTest(
    "each end where the contract puts them, with their values or their reason",
    async () => {
      const sent = eachKindOnce();
      await using pipeline = await TestPipeline.start({
        partitions: 1,
        producer: { "message.max.bytes": "2000000" },
        env: { CONSUMER_WORKERS: "1", CONSUMER_BATCH_SIZE: "5000" },
      });
      await pipeline.send(sent.map(({ record }) => record));
      const places = Map.groupBy(sent, ({ kind }) => kind.verdict.place);
      Object.assign(pipeline.published, {
        records: sent.length,
        events: places.get("stored")!.length,
        repeats: places.get("duplicate")!.length,
        broken: places.get("dead letter")!.length,
      });
      const consumer = pipeline.consumer();
      await pipeline.drained();
      await consumer.drain();

      expect(await storedAs(pipeline, sent)).toEqual(expectedEvents(sent));
      expect(await deadLetters(pipeline, sent)).toEqual(expectedLetters(sent));
      // What pg_dump reads.
      const { sql } = pipeline.database;
      await sql`copy raw_events to '/dev/null'`;
      await sql`copy dead_letter_events to '/dev/null'`;
      expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
    },
    TIMEOUT_MS,
  );
});

interface NamedEvent extends StoredEvent {
  readonly name: string;
}

function expectedEvents(sent: readonly HostileRecord[]): NamedEvent[] {
  return sent.flatMap(({ kind, id }) =>
    kind.verdict.place === "stored" ? [{ name: kind.name, event_id: id, ...kind.verdict.of(id) }] : [],
  );
}

/** Of each event that must be stored the columns that its kind decides, as they are stored. */
async function storedAs(pipeline: TestPipeline, sent: readonly HostileRecord[]): Promise<NamedEvent[]> {
  const { sql } = pipeline.database;
  const found: NamedEvent[] = [];
  for (const expected of expectedEvents(sent)) {
    const [row] = await sql<(StoredEvent & { isSameData: boolean })[]>`
      select event_id, user_id, event_type, duration_seconds, event_data::text as event_data,
        to_char("timestamp" at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "timestamp",
        event_data::text = (${expected.event_data ?? null}::text::jsonb)::text as "isSameData"
      from raw_events where event_id = ${expected.event_id!}`;
    const columns = Object.keys(expected).map((column) => {
      const value = row?.[column as keyof StoredEvent];
      // Two texts of one jsonb are the same; the expected one is easier to read.
      return [column, column === "event_data" && row?.isSameData === true ? expected.event_data : value];
    });
    found.push({ ...Object.fromEntries(columns), name: expected.name } as NamedEvent);
  }
  const [rows] = await sql<[{ count: number }]>`select count(*)::int as count from raw_events`;
  expect(rows.count).toBe(found.length);
  return found;
}

function expectedLetters(sent: readonly HostileRecord[]): object[] {
  return sent.flatMap(({ kind: { name, verdict }, record: { key, value, headers } }, offset) => {
    if (verdict.place !== "dead letter") return [];
    const isCut = verdict.reason === "too_large";
    return [
      {
        name,
        offset,
        reason: verdict.reason,
        // The error of a kind that names none is not compared.
        error: verdict.error ?? "",
        key: digest(key),
        value: digest(isCut ? value!.subarray(0, CUT_BYTES) : value),
        headers: digest(headers && encodeHeaders(headers)),
      },
    ];
  });
}

async function deadLetters({ database }: TestPipeline, sent: readonly HostileRecord[]): Promise<object[]> {
  interface Letter {
    offset: number;
    reason: string;
    error: string;
    key: Uint8Array | null;
    value: Uint8Array | null;
    headers: Uint8Array | null;
  }
  const rows = await database.sql<Letter[]>`
    select "offset"::int as "offset", reason, error, key, value, headers from dead_letter_events order by "offset"`;
  return rows.map(({ offset, reason, error, key, value, headers }) => {
    const { name, verdict } = sent[offset]!.kind;
    const part = verdict.place === "dead letter" ? (verdict.error ?? "") : "";
    return {
      name,
      offset,
      reason,
      error: error.includes(part) ? part : error,
      key: digest(key),
      value: digest(value),
      headers: digest(headers),
    };
  });
}
