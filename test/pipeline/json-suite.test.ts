import { describe, expect, test } from "bun:test";
import { ACCEPTED, NOT_UTF8, REFUSED } from "./json-suite.ts";
import { readPlainly } from "./plain-reader.ts";
import { eventText, NOW_MS, readText, SKEW_MS } from "./record.ts";

/** A text as a record, and as a value at three places of an event. */
function records(text: string | Uint8Array): Buffer[] {
  const body = Buffer.from(text as Uint8Array);
  const within = (before: string, after: string) =>
    Buffer.concat([Buffer.from(before), body, Buffer.from(after)]);
  const event = eventText().slice(0, -1);
  return [
    body,
    within(`${event},"extra":`, "}"),
    within(event.replace('"event_data":{}', '"event_data":{"n":'), "}}"),
    within('{"duration_seconds":', `,${event.slice(1)}}`),
  ];
}

/** What the event reader makes of the records; the same as JSON.parse. */
function read(text: string | Uint8Array) {
  return records(text).map((record) => {
    const result = readText(record);
    expect(result).toStrictEqual(readPlainly(record, NOW_MS, SKEW_MS));
    return "reason" in result ? result.reason : "event";
  });
}

const cases = (texts: Readonly<Record<string, readonly (string | Uint8Array)[]>>) =>
  Object.entries(texts).flatMap(([category, list]) =>
    list.map((text): [string, string | Uint8Array] => {
      const shown = Buffer.from(text as Uint8Array).toString("latin1");
      return [`${category}: ${JSON.stringify(shown.length > 60 ? `${shown.slice(0, 60)}…` : shown)}`, text];
    }),
  );

describe("a JSON text", () => {
  test.each(cases(ACCEPTED))("is JSON wherever it stands: %s", (_name, text) => {
    for (const reason of read(text)) expect(reason).not.toBeOneOf(["not_json", "not_utf8"]);
  });
});

describe("a text that is not JSON", () => {
  test.each(cases(REFUSED))("is refused as a record: %s", (_name, text) => {
    expect(read(text)[0]).toBeOneOf(["not_json", "not_utf8"]);
  });
});

describe("a text that is not UTF-8", () => {
  test.each(cases({ "not UTF-8": NOT_UTF8 }))("is refused wherever it stands: %s", (_name, text) => {
    for (const reason of read(text)) expect(reason).toBe("not_utf8");
  });
});
