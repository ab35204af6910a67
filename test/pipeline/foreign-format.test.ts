import { describe, expect, test } from "bun:test";
import { spanStart } from "./batch-view.ts";
import { batchOf, eventText } from "./record.ts";

/** The reason and the error of a record, as its dead letter has them. */
function rejectionOf(value: string | Uint8Array | undefined): [reason: string, error: string] {
  const [letter] = batchOf([{ offset: 0, value }], [spanStart(0)]).rejected.deadLetters();
  const { reason, error } = letter!.rejection;
  return [reason, error];
}

const withHeader = (id: number, data: string | Uint8Array) => {
  const header = Buffer.alloc(5);
  header.writeUInt32BE(id, 1);
  return Buffer.concat([header, Buffer.from(data as Uint8Array)]);
};

describe("the error of a dead letter", () => {
  test.each([
    [42, "not_json"],
    [0x00ff_ff00, "not_utf8"],
  ])("names a schema registry's header before JSON, schema %d", (id, reason) => {
    const [found, error] = rejectionOf(withHeader(id, eventText()));
    expect(found).toBe(reason);
    expect(error).toEndWith(
      `: it begins with the five bytes of a schema registry (schema ${id}), followed by JSON; a producer without the ` +
        "registry's serializer sends plain JSON",
    );
  });

  test("names a schema registry's header before Avro", () => {
    const [, error] = rejectionOf(withHeader(7, Uint8Array.of(2, 97, 255)));
    expect(error).toContain("schema registry (schema 7), followed by data that are not JSON");
  });

  test("names UTF-16 that begins like a schema registry's header", () => {
    expect(rejectionOf(Buffer.from(eventText(), "utf16le").swap16())).toEqual([
      "not_json",
      expect.stringMatching(/ is not JSON: it looks like UTF-16; JSON in a record is UTF-8$/) as string,
    ]);
  });

  test.each([JSON.stringify, (value: unknown) => ` ${JSON.stringify(value, undefined, 2)}`])(
    "names the envelope of Kafka Connect",
    (write) => {
      const envelope = {
        schema: { type: "struct", fields: [] },
        payload: JSON.parse(eventText()) as unknown,
      };
      const [reason, error] = rejectionOf(write(envelope));
      expect(reason).toBe("missing_field");
      expect(error).toStartWith(
        "event_id, user_id, event_type, timestamp, event_data: missing: it is the envelope",
      );
      expect(error).toContain("value.converter.schemas.enable=false");
    },
  );

  test.each([
    undefined,
    "",
    "{}",
    '{"schema":1}',
    '{"payload":1,"schema":2}',
    Uint8Array.of(0),
    Uint8Array.of(0, 0, 0, 0, 1),
    eventText({ user_id: undefined }),
  ])("names nothing for other records (%#)", (value) => {
    expect(rejectionOf(value)[1]).not.toMatch(/registry|envelope/);
  });
});
