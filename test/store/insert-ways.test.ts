// Tests by which statements raw events are inserted, from one batch to the next.
import { expect, test } from "bun:test";
import { CopyFailed, RawEvents } from "../../shared/store/raw-events.ts";
import type { Session, SessionTransaction } from "../../shared/store/session.ts";
import { eventWithId } from "../pipeline/record.ts";
import { rejection } from "../support/rejection.ts";
import { batchFrom, openSession, pipelineDatabase } from "./pipeline-database.ts";

const DEADLINE_MS = 60_000;

/** Inserts batches of one session, each in a transaction, and records the first words of their statements. */
class RecordedEvents {
  /** Awaited between the look-up and the COPY. */
  beforeCopy = async (): Promise<void> => {};
  readonly #session: Session;
  readonly #events = new RawEvents(true);

  constructor(session: Session) {
    this.#session = session;
  }

  /** @returns the ids that were new, and the statements */
  async insert(...ids: string[]): Promise<{ newIds: string[]; statements: string }> {
    const batch = batchFrom(0, ids.map(eventWithId));
    const statements: string[] = [];
    let rows: Int32Array = new Int32Array();
    await this.#session.transaction(DEADLINE_MS, async (tx) => {
      rows = await this.#events.insert(this.#recorded(tx, statements), batch, batch.distinct());
    });
    const newIds = Array.from(rows, (row) => batch.rows.eventId(row)).toSorted();
    return { newIds, statements: statements.join(", ") };
  }

  #recorded(tx: SessionTransaction, statements: string[]): SessionTransaction {
    const recorded: Partial<SessionTransaction> = {
      unsafe: (text, ...rest) => {
        statements.push(text.trim().split(" ")[0]!);
        return tx.unsafe(text, ...rest);
      },
      copyIn: async (...copy) => {
        statements.push("copy");
        await this.beforeCopy();
        await tx.copyIn(...copy);
      },
    };
    return new Proxy(tx, {
      get: (target, name, receiver): unknown =>
        Reflect.get(name in recorded ? recorded : target, name, receiver),
    });
  }
}

const COPIED = "copy, select";
const LOOKED_UP = "select, copy, select";
const WITH_REPEATED = "select, with, copy, select";
const INSERTED = "with";

test("ids are looked up after one was stored already, until five batches in a row were new", async () => {
  await using database = await pipelineDatabase();
  const session = await openSession(database);
  const events = new RecordedEvents(session);
  expect(await events.insert("a", "b")).toEqual({ newIds: ["a", "b"], statements: COPIED });
  expect(await rejection(events.insert("c", "a"))).toBeInstanceOf(CopyFailed);
  expect(await events.insert("c", "a", "d")).toEqual({ newIds: ["c", "d"], statements: WITH_REPEATED });
  expect(await events.insert("a", "d")).toEqual({ newIds: [], statements: "select, with" });
  for (let batch = 1; batch <= 5; batch++) {
    expect((await events.insert(`n${batch}`)).statements).toBe(LOOKED_UP);
  }
  expect(await events.insert("e", "f")).toEqual({ newIds: ["e", "f"], statements: COPIED });
  await session.close();
});

test("what COPY refuses after the look-up is inserted", async () => {
  await using database = await pipelineDatabase();
  const [session, other] = [await openSession(database), await openSession(database)];
  const events = new RecordedEvents(session);
  await events.insert("a");
  expect(await rejection(events.insert("a"))).toBeInstanceOf(CopyFailed);
  events.beforeCopy = async () => void (await new RecordedEvents(other).insert("b"));
  expect(await rejection(events.insert("b", "c"))).toBeInstanceOf(CopyFailed);
  expect(await events.insert("b", "c")).toEqual({ newIds: ["c"], statements: INSERTED });
  events.beforeCopy = async () => {};
  expect(await events.insert("b", "d")).toEqual({ newIds: ["d"], statements: WITH_REPEATED });
  await session.close();
  await other.close();
});

test("events whose ids were looked up are copied in key order, so that workers do not deadlock", async () => {
  await using database = await pipelineDatabase();
  const session = await openSession(database);
  const events = new RecordedEvents(session);
  await events.insert("a");
  expect(await rejection(events.insert("a"))).toBeInstanceOf(CopyFailed);
  expect((await events.insert("z", "a", "m", "é", "b")).statements).toBe(WITH_REPEATED);
  const rows = await database.sql<{ event_id: string }[]>`select event_id from raw_events order by ctid`;
  expect(rows.map(({ event_id }) => event_id)).toEqual(["a", "b", "m", "z", "é"]);
  await session.close();
});
