import { describe, expect, test } from "bun:test";
import { withDuplicates } from "../../bench/scenarios/duplicates.ts";
import { FORM_NAMES, eventsOf } from "../../bench/scenarios/forms.ts";
import { withHostileRecords } from "../../bench/scenarios/hostile.ts";
import { dumps } from "../../bench/json-dumps.ts";
import { isShared, withTextData } from "../../bench/peer-round.ts";
import { simulated, withRandomIds } from "../../bench/records.ts";
import { EventReader } from "../../shared/pipeline/event-reader.ts";
import { isRejection } from "../../shared/pipeline/rejection.ts";
import { LARGE_RECORD_BYTES, sizeOf } from "../support/hostile/hostile-records.ts";

const EVENTS = 200;

describe("the forms of events", () => {
  test("include JSON as Python's json.dumps writes it", () => {
    const value = { a: [1, 2.5, null, true], é: '\x7f😀"\\\n/ß', empty: [], none: {} };
    // python3 -c 'import json; print(json.dumps({"a": [1, 2.5, None, True], "é": "\x7f😀\"\\\n/ß", "empty": [], "none": {}}))'
    expect(dumps(value, { ensureAscii: true })).toBe(
      '{"a": [1, 2.5, null, true], "\\u00e9": "\\u007f\\ud83d\\ude00\\"\\\\\\n/\\u00df", "empty": [], "none": {}}',
    );
    expect(dumps(value, { ensureAscii: false })).toBe(
      '{"a": [1, 2.5, null, true], "é": "\x7f😀\\"\\\\\\n/ß", "empty": [], "none": {}}',
    );
  });

  test("contain the same events, each in a different notation", () => {
    const meant = [...simulated(EVENTS)].map(({ value }) => idsOf(value));
    const texts = FORM_NAMES.map((form) => [...eventsOf(form, EVENTS)].map(({ value }) => value));
    for (const values of texts) expect(values.map(idsOf)).toEqual(meant);
    const [simulator, python, keyOrder, utf8, escaped, nested] = texts.map((values) => values[0]!);
    expect(simulator).toStartWith('{"event_id":"');
    expect(python).toMatch(/^\{"event_id": ".*", "user_id": .*"timestamp": "[^"]+\.\d{6}\+00:00"/);
    expect(keyOrder).toStartWith('{"timestamp":"');
    expect(utf8).toContain('"city":"Zürich"');
    expect(escaped).toContain('"city": "Z\\u00fcrich"');
    expect(nested).toContain('"items":[{');
  });
});

/** The fields of an event except event_data, as the pipeline reads them. */
function idsOf(text: string): Record<string, unknown> {
  const event = new EventReader().readValue(Buffer.from(text), Date.now(), 60_000);
  if (isRejection(event)) throw new Error(`${event.reason}: ${text}`);
  const { eventId, userId, eventType, durationMs, purchaseAmount } = event;
  return {
    // The time in the id differs between two runs of the simulator.
    eventId: eventId.replace(/_\d+_/, "_"),
    userId,
    eventType,
    durationMs,
    purchaseAmount,
  };
}

describe("the events of a scenario", () => {
  test("have other ids where these are random, and nothing else differs", () => {
    const clock = () => 1_769_817_600_000;
    const plain = [...simulated(EVENTS, clock)];
    const random = [...withRandomIds(simulated(EVENTS, clock))];
    const ids = new Set(random.map(({ value }) => (JSON.parse(value) as { event_id: string }).event_id));
    expect(ids.size).toBe(EVENTS);
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-/);
    const withoutIds = (records: typeof plain) =>
      records.map(({ key, value }) => [key, value.replace(/"event_id":"[^"]+"/, "")]);
    expect(withoutIds(random)).toEqual(withoutIds(plain));
  });

  test("have as many users as asked for", () => {
    const users = new Set([...simulated(5000, Date.now, { userCount: 50 })].map(({ key }) => key));
    expect(users.size).toBe(50);
  });

  test("have their data as text for Kafka Connect", () => {
    const [plain] = simulated(1);
    const [peer] = withTextData([plain!]);
    const { event_data: data, ...rest } = JSON.parse(peer!.value) as Record<string, unknown>;
    expect({ ...rest, event_data: JSON.parse(String(data)) as unknown }).toEqual(JSON.parse(plain!.value));
    expect(peer!.key).toBe(plain!.key);
  });
});

describe("the tasks of Kafka Connect", () => {
  const members = (...shares: number[]) =>
    [
      "",
      "GROUP           CONSUMER-ID    HOST            CLIENT-ID       #PARTITIONS",
      ...shares.map(
        (share, task) => `connect-bench-2 connector-${task}  /127.0.0.1      connector-${task}  ${share}`,
      ),
      "",
    ].join("\n");

  test("have shared the partitions when each has as many as the others, give or take one", () => {
    expect(isShared(members(3, 3), 2)).toBeTrue();
    expect(isShared(members(2, 2, 1, 1), 4)).toBeTrue();
    expect(isShared(members(6, 0), 2)).toBeFalse();
    expect(isShared(members(6), 2)).toBeFalse();
    expect(isShared(members(0, 0), 2)).toBeFalse();
    expect(isShared("", 2)).toBeFalse();
  });
});

describe("records with duplicates", () => {
  const RECORDS = 60_000;
  const BATCH = 5000;

  test("repeat events within batches, across batches and across partitions, the same in each run", () => {
    const share = 0.1;
    const filling = withDuplicates(RECORDS, share);
    const first = new Map<string, { index: number; partition: number }>();
    const found = { withinBatch: 0, acrossBatches: 0, acrossPartitions: 0 };
    const partitions: number[] = [];
    for (const { value, partition } of filling.records) {
      const id = (JSON.parse(value) as { event_id: string }).event_id;
      const index = partitions.push(partition!) - 1;
      const earlier = first.get(id);
      if (earlier === undefined) first.set(id, { index, partition: partition! });
      else if (earlier.partition !== partition) found.acrossPartitions++;
      else if (index - earlier.index > BATCH) found.acrossBatches++;
      else found.withinBatch++;
    }
    expect(partitions).toHaveLength(RECORDS);
    expect(filling.duplicates()).toBe(RECORDS - first.size);
    expect(filling.duplicates() / RECORDS).toBeWithin(share * 0.95, share * 1.05);
    for (const kind of Object.values(found)) expect(kind / filling.duplicates()).toBeWithin(0.2, 0.5);

    const again = withDuplicates(RECORDS, share);
    expect([...again.records].map(({ partition }) => partition!)).toEqual(partitions);
    expect(again.duplicates()).toBe(filling.duplicates());
  });
});

describe("records of which a share is hostile", () => {
  const RECORDS = 5000;
  const hostile = (share: number) => {
    const content = { records: 0, stored: 0, duplicates: 0, deadLetters: 0, reasons: {}, bytes: 0 };
    return { records: withHostileRecords(RECORDS, share, content).toArray(), content };
  };
  /** The number of records that are rejected when they are read. */
  const rejectedOf = (records: ReturnType<typeof hostile>["records"]) => {
    const reader = new EventReader();
    const read = records.map(({ value }) => reader.readValue(value, Date.now(), 86_400_000));
    return read.filter(isRejection).length;
  };

  test("are as many as asked for, and count what must become of each", () => {
    for (const share of [0, 0.01, 0.1, 1]) {
      const { records, content } = hostile(share);
      expect(records).toHaveLength(RECORDS);
      expect(content.records).toBe(RECORDS);
      expect(content.stored + content.duplicates + content.deadLetters).toBe(RECORDS);
      expect(content.deadLetters).toBe(rejectedOf(records));
      expect(Object.values<number>(content.reasons).reduce((sum, count) => sum + count, 0)).toBe(
        content.deadLetters,
      );
      // More than a third and less than all of the hostile records are no events.
      expect(content.deadLetters).toBeGreaterThanOrEqual((share * RECORDS) / 3);
      expect(content.deadLetters).toBeLessThanOrEqual(share * RECORDS);
    }
  });

  test("have few large ones, and put an event that repeats an id into the partition of the first", () => {
    const { records, content } = hostile(1);
    const large = records.filter((record) => sizeOf(record) > LARGE_RECORD_BYTES);
    expect(large.length).toBeWithin(10, 50);
    expect(new Set(large.map(({ value }) => value?.length)).size).toBeGreaterThan(10);
    const partitionOf = new Map<string, number>();
    const reader = new EventReader();
    let repeats = 0;
    for (const { value, partition } of records) {
      const event = reader.readValue(value, Date.now(), 86_400_000);
      if (isRejection(event)) continue;
      const first = partitionOf.get(event.eventId);
      if (first !== undefined) {
        repeats++;
        expect(partition).toBe(first);
      }
      partitionOf.set(event.eventId, partition!);
    }
    expect(repeats).toBe(content.duplicates);
  });
});
