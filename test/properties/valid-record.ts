// Writes valid records in the forms that producers use.

import { EventSimulator } from "../../shared/producer/simulator.ts";
import { NOW_MS } from "../pipeline/record.ts";
import type { SeededChoices } from "../support/seeded-random.ts";

export const VALID_FORMS = [
  "compact",
  "python",
  "reordered",
  "non-ASCII",
  "nested",
  "spaced",
  "escaped",
] as const;
type Form = (typeof VALID_FORMS)[number];

const FOREIGN = [
  "é",
  "ß",
  "日本語",
  "Привет",
  "😀",
  "\u{10ffff}",
  "\u0080",
  "\u07ff",
  "\u0800",
  "\uffff",
  "\ufeff",
  "\u2028",
];
const NUMBERS = [
  ..."0|-0|1e5|-2.5E-3|1e400|12345678901234567890.123456789|0.1|10|1e999|0e5000".split("|"),
  "9".repeat(1000),
];
const LITERALS = ["null", "true", "false"];
/** Timestamps in many forms, all before NOW_MS plus a day. */
const TIMESTAMPS = [
  "2026-03-14T09:26:53Z",
  "2026-03-14T09:26:53.1Z",
  "2026-03-14T09:26:53.123456789Z",
  "2026-03-14T09:26:53.123456+00:00",
  "2026-03-14T10:26:53.5+01:00",
  "2024-02-29T23:59:59.999999Z",
  "1970-01-01T00:00:00Z",
];

type Member = readonly [key: string, valueText: string];

/** The text of a valid record. */
export function validRecord(choices: SeededChoices, form: Form): string {
  const members = simulated(choices);
  switch (form) {
    case "compact":
      return object(members, ",", ":");
    case "python":
      return pythonText(members);
    case "reordered":
      return object(
        choices.shuffled([...members, ["source", '"web"'], ["schema", "3"], ["tags", "[1,{}]"]]),
        ",",
        ":",
      );
    case "non-ASCII":
      return object(withForeignText(choices, members), ",", ":");
    case "nested":
      return object(
        members.map(([key, text]) => [key, key === "event_data" ? nested(choices, text) : text]),
        ",",
        ":",
      );
    case "escaped":
      return withEscapes(choices, object(withForeignText(choices, members), ",", ":"));
    case "spaced":
      return spaced(choices, object(choices.shuffled(withForeignText(choices, members)), ",", ":"));
  }
}

function simulated(choices: SeededChoices): Member[] {
  const simulator = new EventSimulator({
    userCount: 1000,
    minIntervalSeconds: 1,
    maxIntervalSeconds: 1,
    // Simulated purchases are rare and have more fields that can go wrong. The first number decides the type.
    random: choices.once(3) ? firstThen(0.87, choices.random) : choices.random,
    now: () => NOW_MS - choices.below(1e9),
    instance: "readers",
  });
  const event = JSON.parse(simulator.next().json) as Record<string, unknown>;
  if (choices.once(2)) event["timestamp"] = choices.one(TIMESTAMPS);
  if (choices.once(10)) event["duration_seconds"] = choices.one([null, 0, 1e9, 0.0005, 1234.5678]);
  return Object.entries(event).map(([key, value]) => [key, JSON.stringify(value)]);
}

function firstThen(first: number, next: () => number): () => number {
  let calls = 0;
  return () => (calls++ === 0 ? first : next());
}

function object(members: readonly Member[], comma: string, colon: string): string {
  return `{${members.map(([key, text]) => `${JSON.stringify(key)}${colon}${text}`).join(comma)}}`;
}

/** The default output of Python's json.dumps, without its escapes. */
function pythonText(members: readonly Member[]): string {
  const outer = members.map(([key, text]): Member => {
    if (key !== "event_data") return [key, text];
    const inner = Object.entries(JSON.parse(text) as Record<string, unknown>);
    return [
      key,
      object(
        inner.map(([name, value]) => [name, JSON.stringify(value)]),
        ", ",
        ": ",
      ),
    ];
  });
  return object(outer, ", ", ": ");
}

function withForeignText(choices: SeededChoices, members: readonly Member[]): Member[] {
  const foreign = () => JSON.stringify(choices.one(FOREIGN) + (choices.once(2) ? choices.one(FOREIGN) : "x"));
  return members.map(([key, text]): Member => {
    if (key === "event_data") return [key, `{${foreign()}:${foreign()},${text.slice(1)}`];
    return [key, key !== "timestamp" && text.startsWith('"') && choices.once(4) ? foreign() : text];
  });
}

function nested(choices: SeededChoices, dataText: string): string {
  const inner = `"cart":${valueText(choices, 4)},"amount":${choices.one(["3", "0.5", "null", '"1"', "{}"])}`;
  return choices.once(2) ? `{${inner},${dataText.slice(1)}` : `${dataText.slice(0, -1)},${inner}}`;
}

function valueText(choices: SeededChoices, depth: number): string {
  if (depth === 0 || choices.once(4)) {
    return choices.one([choices.one(NUMBERS), choices.one(LITERALS), '"{[,:]}"', '""', '"日本"']);
  }
  const items = Array.from({ length: choices.below(4) }, () => valueText(choices, depth - 1));
  if (choices.once(2)) return `[${items.join(",")}]`;
  return object(
    items.map((text) => [choices.one(["a", "", "amount", "event_data", "__proto__"]), text]),
    ",",
    ":",
  );
}

/** Writes some characters of keys and texts as escapes. */
function withEscapes(choices: SeededChoices, text: string): string {
  // Numbers and literals have no escapes.
  return text.replaceAll(/"[^"]*"/g, (string) =>
    string.replaceAll(/[^"\\]/gu, (character) => {
      if (!choices.once(8)) return character;
      const units = character.split("").map((unit) => unit.charCodeAt(0).toString(16).padStart(4, "0"));
      return units.map((hex) => `\\u${choices.once(2) ? hex : hex.toUpperCase()}`).join("");
    }),
  );
}

/** Adds white space at some of the places where JSON allows it. */
function spaced(choices: SeededChoices, text: string): string {
  const spread = text.replaceAll(/"[^"]*"|[{}[\]:,]/g, (token) => {
    const space = () => (choices.once(3) ? choices.one([" ", "\n", "\r\n", "\t", "  "]) : "");
    return `${space()}${token}${space()}`;
  });
  return choices.once(2) ? spread : ` ${spread}\n`;
}
