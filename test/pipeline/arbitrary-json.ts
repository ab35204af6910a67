// Generates arbitrary JSON text: any white space, escapes, repeated keys, numbers of many digits.
import fc from "fast-check";

const whiteSpace = fc.string({ unit: fc.constantFrom(" ", "\t", "\n", "\r"), maxLength: 2 });

/** Characters that a JSON string may contain unescaped, with those that confuse a careless scanner. */
const plainCharacter = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...Array.from("aeiou{}[]:, 0'/")) },
  { weight: 2, arbitrary: fc.string({ unit: "binary", minLength: 1, maxLength: 1 }).filter(isPlain) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      "\u007f",
      "\u0085",
      "\u2028",
      "\ufeff",
      "\uffff",
      "é",
      "日",
      "😀",
      "\u{10ffff}",
    ),
  },
);

const storableEscape = fc.oneof(
  fc.constantFrom('\\"', "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t"),
  fc
    .integer({ min: 1, max: 0xffff })
    .filter((unit) => unit < 0xd800 || unit > 0xdfff)
    .map(escapeUnit),
  fc
    .integer({ min: 0x10000, max: 0x10ffff })
    .map((point) =>
      Array.from(String.fromCodePoint(point).split(""), (half) => escapeUnit(half.charCodeAt(0))).join(""),
    ),
);

/** NUL, and halves of surrogate pairs in any order: two of them may form a pair. */
const doubtfulEscape = fc.oneof(
  fc.constant("\\u0000"),
  fc.integer({ min: 0xd800, max: 0xdfff }).map(escapeUnit),
  fc.constantFrom("\\ud83d\\ude00", "\\ud83d", "\\ude00", "\\\\u0000", "\\\\ud800"),
);

/** Text of a number. */
export const jsonNumber = fc
  .tuple(
    fc.constantFrom("", "-"),
    fc.oneof(fc.constant("0"), fc.bigInt({ min: 1n, max: 10n ** 30n }).map(String)),
    fc.oneof(fc.constant(""), fc.stringMatching(/^\.\d{1,25}$/)),
    fc.oneof(
      { weight: 3, arbitrary: fc.constant("") },
      { weight: 1, arbitrary: fc.stringMatching(/^[eE][+-]?\d{1,2}$/) },
    ),
  )
  .map((parts) => parts.join(""));

/** Keys that repeat, that have a meaning here or in JavaScript, and one of them written with an escape. */
const knownKey = fc.constantFrom(
  '"event_data"',
  '"event\\u005fdata"',
  '"event_data "',
  '"amount"',
  '"is_high_value"',
  '"__proto__"',
  '"toString"',
  '"a"',
  '""',
);

interface Options {
  /** True: also generates escapes for NUL and for halves of surrogate pairs. */
  readonly doubtful?: boolean;
}

interface JsonTexts {
  value: string;
  array: string;
  object: string;
}

/** Text of a string. */
export function jsonString({ doubtful = false }: Options = {}): fc.Arbitrary<string> {
  return fc
    .array(
      fc.oneof(
        { weight: 6, arbitrary: plainCharacter },
        { weight: 1, arbitrary: storableEscape },
        ...(doubtful ? [{ weight: 1, arbitrary: doubtfulEscape }] : []),
      ),
      { maxLength: 8 },
    )
    .map((characters) => `"${characters.join("")}"`);
}

function texts(options: Options) {
  const string = jsonString(options);
  const spaced = (arbitrary: fc.Arbitrary<string>) =>
    fc.tuple(whiteSpace, arbitrary, whiteSpace).map((parts) => parts.join(""));
  return fc.letrec<JsonTexts>((tie: fc.LetrecTypedTie<JsonTexts>) => {
    const member = fc
      .tuple(spaced(fc.oneof(knownKey, string)), spaced(tie("value")))
      .map(([key, value]) => `${key}:${value}`);
    return {
      value: fc.oneof(
        { depthSize: "small", withCrossShrink: true },
        fc.constantFrom("null", "true", "false"),
        jsonNumber,
        string,
        tie("array"),
        tie("object"),
      ),
      array: fc.array(spaced(tie("value")), { maxLength: 4 }).map((items) => `[${items.join(",")}]`),
      object: fc
        .tuple(whiteSpace, fc.array(member, { maxLength: 5 }))
        .map(([space, members]) => `{${members.length === 0 ? space : members.join(",")}}`),
    };
  });
}

/** Text of any JSON value. */
export function jsonText(options: Options = {}): fc.Arbitrary<string> {
  return texts(options).value;
}

/** Text of any JSON object. */
export function jsonObjectText(options: Options = {}): fc.Arbitrary<string> {
  return texts(options).object;
}

/** True for a character that a JSON string in UTF-8 may contain unescaped. */
function isPlain(character: string): boolean {
  return character >= " " && character !== '"' && character !== "\\" && character.isWellFormed();
}

function escapeUnit(unit: number): string {
  const hex = unit.toString(16).padStart(4, "0");
  return `\\u${unit % 3 === 0 ? hex.toUpperCase() : hex}`;
}
