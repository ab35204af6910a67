// A choice of form in; the text of a record that nothing is wrong with, as some producer would write it, out.
import { EventSimulator } from "../../shared/producer/simulator.ts";
import { NOW_MS } from "../pipeline/record.ts";
import type { Chance } from "../support/seeded-random.ts";

export const SOUND_FORMS = ["compact", "python", "reordered", "non-ASCII", "nested", "spaced"] as const;
type Form = (typeof SOUND_FORMS)[number];

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
const NUMBERS = ["0", "-0", "1e5", "-2.5E-3", "1e400", "12345678901234567890.123456789", "0.1", "10"];
const LITERALS = ["null", "true", "false"];
/** Timestamps of one moment and others, all before NOW_MS plus a day. */
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

/** The text of a sound record. */
export function soundRecord(chance: Chance, form: Form): string {
  const members = simulated(chance);
  switch (form) {
    case "compact":
      return object(members, ",", ":");
    case "python":
      return pythonText(members);
    case "reordered":
      return object(
        chance.shuffled([...members, ["source", '"web"'], ["schema", "3"], ["tags", "[1,{}]"]]),
        ",",
        ":",
      );
    case "non-ASCII":
      return object(withForeignText(chance, members), ",", ":");
    case "nested":
      return object(
        members.map(([key, text]) => [key, key === "event_data" ? nested(chance, text) : text]),
        ",",
        ":",
      );
    case "spaced":
      return spaced(chance, object(chance.shuffled(withForeignText(chance, members)), ",", ":"));
  }
}

function simulated(chance: Chance): Member[] {
  const simulator = new EventSimulator({
    userCount: 1000,
    minIntervalSeconds: 1,
    maxIntervalSeconds: 1,
    // Simulated purchases are rare, and there is more to go wrong in them: the first choice is the type's.
    random: chance.once(3) ? firstThen(0.87, chance.random) : chance.random,
    now: () => NOW_MS - chance.below(1e9),
    instance: "readers",
  });
  const event = JSON.parse(simulator.next().json) as Record<string, unknown>;
  if (chance.once(2)) event["timestamp"] = chance.one(TIMESTAMPS);
  if (chance.once(10)) event["duration_seconds"] = chance.one([null, 0, 1e9, 0.0005, 1234.5678]);
  return Object.entries(event).map(([key, value]) => [key, JSON.stringify(value)]);
}

function firstThen(first: number, next: () => number): () => number {
  let calls = 0;
  return () => (calls++ === 0 ? first : next());
}

function object(members: readonly Member[], comma: string, colon: string): string {
  return `{${members.map(([key, text]) => `${JSON.stringify(key)}${colon}${text}`).join(comma)}}`;
}

/** As Python's json.dumps writes it by default, but for the escapes. */
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

function withForeignText(chance: Chance, members: readonly Member[]): Member[] {
  const foreign = () => JSON.stringify(chance.one(FOREIGN) + (chance.once(2) ? chance.one(FOREIGN) : "x"));
  return members.map(([key, text]): Member => {
    if (key === "event_data") return [key, `{${foreign()}:${foreign()},${text.slice(1)}`];
    return [key, key !== "timestamp" && text.startsWith('"') && chance.once(4) ? foreign() : text];
  });
}

function nested(chance: Chance, dataText: string): string {
  const inner = `"cart":${valueText(chance, 4)},"amount":${chance.one(["3", "0.5", "null", '"1"', "{}"])}`;
  return chance.once(2) ? `{${inner},${dataText.slice(1)}` : `${dataText.slice(0, -1)},${inner}}`;
}

function valueText(chance: Chance, depth: number): string {
  if (depth === 0 || chance.once(4)) {
    return chance.one([chance.one(NUMBERS), chance.one(LITERALS), '"{[,:]}"', '""', '"日本"']);
  }
  const items = Array.from({ length: chance.below(4) }, () => valueText(chance, depth - 1));
  if (chance.once(2)) return `[${items.join(",")}]`;
  return object(
    items.map((text) => [chance.one(["a", "", "amount", "event_data", "__proto__"]), text]),
    ",",
    ":",
  );
}

/** White space at some of the places where JSON allows it. */
function spaced(chance: Chance, text: string): string {
  const spread = text.replaceAll(/"[^"]*"|[{}[\]:,]/g, (token) => {
    const space = () => (chance.once(3) ? chance.one([" ", "\n", "\r\n", "\t", "  "]) : "");
    return `${space()}${token}${space()}`;
  });
  return chance.once(2) ? spread : ` ${spread}\n`;
}
