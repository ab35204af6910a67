import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { enrich } from "../../shared/pipeline/enrich.ts";
import { jsonObjectText } from "./arbitrary-json.ts";
import { eventOf, eventTextWith } from "./record.ts";

const enriched = (type: string, eventData: string) =>
  enrich(eventOf(eventTextWith(eventData, { event_type: type }))).eventDataText;

describe("enrich", () => {
  test.each<[amount: string, isHighValue: boolean]>([
    ["100", false],
    ["100.0", false],
    ["1e2", false],
    ["100.01", true],
    ["100.00000000000001", true],
    ["101", true],
    ["1e400", true],
    ["0", false],
    ["-0", false],
    ["-1e400", false],
    ["-500", false],
  ])("marks a purchase with the amount %s", (amount, isHighValue) => {
    expect(enriched("purchase", `{"amount":${amount}}`)).toBe(
      `{"amount":${amount},"is_high_value":${isHighValue}}`,
    );
  });

  test("replaces the producer's flag, because jsonb keeps the last of a repeated key", () => {
    const text = enriched("purchase", '{"is_high_value":true,"amount":5,"is_high_value":"yes"}');
    expect(text).toBe('{"is_high_value":true,"amount":5,"is_high_value":"yes","is_high_value":false}');
    expect(JSON.parse(text)).toEqual({ amount: 5, is_high_value: false });
  });

  test("replaces the producer's flag when its key is written with escapes", () => {
    const text = enriched("purchase", '{"amount":500,"is_high\\u005fvalue":false}');
    expect(JSON.parse(text)).toEqual({ amount: 500, is_high_value: true });
  });

  test("takes the last of several amounts", () => {
    expect(JSON.parse(enriched("purchase", '{"amount":500,"amount":5}'))).toEqual({
      amount: 5,
      is_high_value: false,
    });
  });

  test("keeps the other text of event_data, white space included", () => {
    expect(enriched("purchase", ' {\n "amount" : 150.10 , "a":{"b":"}"}\t} ')).toBe(
      '{\n "amount" : 150.10 , "a":{"b":"}"}\t,"is_high_value":true}',
    );
  });

  test("keeps any other members of event_data", () => {
    fc.assert(
      fc.property(jsonObjectText(), fc.double({ noNaN: true, noDefaultInfinity: true }), (others, amount) => {
        const end = others.lastIndexOf("}");
        const isEmpty = others.slice(1, end).trim() === "";
        const text = `${others.slice(0, end)}${isEmpty ? "" : ","}"amount":${JSON.stringify(amount)}}`;
        expect(JSON.parse(enriched("purchase", text))).toEqual({
          ...(JSON.parse(others) as object),
          amount: JSON.parse(JSON.stringify(amount)) as number,
          is_high_value: amount > 100,
        });
      }),
      { numRuns: 1000, examples: [['{"__proto__":1}', 101]] },
    );
  });
});

describe("an event without a numeric amount", () => {
  test.each<[type: string, eventData: string]>([
    ["purchase", '{"amount":"150"}'],
    ["purchase", '{"amount":null}'],
    ["purchase", '{"amount":[150]}'],
    ["purchase", '{"Amount":150}'],
    ["purchase", '{"nested":{"amount":150}}'],
    ["purchase", "{}"],
    ["purchase", '{"is_high_value":true}'],
    ["purchases", '{"amount":150}'],
    ["page_view", '{"amount":150,"is_high_value":"mine"}'],
  ])("is not enriched: %s %s", (type, eventData) => {
    expect(enriched(type, eventData)).toBe(eventData);
  });

  test("enrich keeps the other fields of a purchase unchanged", () => {
    const event = eventOf(eventTextWith('{"amount":150}', { event_type: "purchase", duration_seconds: 3 }));
    expect(enrich(event)).toEqual({ ...event, eventDataText: '{"amount":150,"is_high_value":true}' });
  });
});
