// Tests that a batch full of refused records ends as dead letters, also over a slow link.
import { expect, test } from "bun:test";
import { Store } from "../../shared/store/store.ts";
import { TcpProxy } from "../chaos/conductor/tcp-proxy.ts";
import { eventText, eventTextWith } from "../pipeline/record.ts";
import { REFUSED_DATA, REFUSED_ERROR, refuseContent } from "../support/refused-content.ts";
import {
  batchFrom,
  enter,
  ledgerOf,
  openSession,
  pipelineDatabase,
  STORE_OPTIONS,
} from "./pipeline-database.ts";

const RECORDS = 60_000;
const GOOD = RECORDS / 100;

test("60,000 refused records in one batch, over a link of 10 ms, become dead letters", async () => {
  await using database = await pipelineDatabase();
  await refuseContent(database);
  await using proxy = await TcpProxy.start(database.config);
  proxy.link = { delayMs: 5, bytesPerSecond: Infinity };
  const session = await openSession({
    config: { ...database.config, host: "127.0.0.1", port: proxy.port },
  });
  await enter(session, 1);
  const values = Array.from({ length: RECORDS }, (_, n) =>
    n % 100 === 0
      ? eventText({ event_id: `good_${n}` })
      : eventTextWith(REFUSED_DATA, { event_id: `refused_${n}` }),
  );
  await new Store(session, STORE_OPTIONS).commit(batchFrom(0, values));
  session.destroy();
  expect(await ledgerOf(database)).toMatchObject({
    next_offset: RECORDS,
    stored: GOOD,
    dead_lettered: RECORDS - GOOD,
  });
  const letters = await database.sql`
    select reason, error, count(*)::int as letters from dead_letter_events group by reason, error`;
  expect([...letters]).toEqual([
    { reason: "refused_by_database", error: REFUSED_ERROR, letters: RECORDS - GOOD },
  ]);
}, 300_000);
