import { describe, expect, test } from "bun:test";
import { withDuplicates } from "../../bench/duplicates.ts";
import { FORM_NAMES, eventsOf } from "../../bench/forms.ts";
import { dumps } from "../../bench/json-dumps.ts";
import { simulated } from "../../bench/records.ts";
import { EventReader } from "../../shared/pipeline/event-reader.ts";
import { isRejection } from "../../shared/pipeline/rejection.ts";

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
