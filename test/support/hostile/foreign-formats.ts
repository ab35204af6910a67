// Lists values in formats that are not ours: other encodings, serializers, envelopes and dialects of JSON.
import { eventWith, type HostileKind, rejected } from "./hostile-kind.ts";

const XERIAL_SNAPPY = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
const AVRO_SINGLE_OBJECT = Buffer.from([0xc3, 0x01, 1, 2, 3, 4, 5, 6, 7, 8]);
const JAVA_SERIALIZED = Buffer.from([0xac, 0xed, 0x00, 0x05, 0x74, 0x00]);
const REGISTRY_HEADER = Buffer.from([0, 0, 0, 0, 42]);

/** A text behind its length, as Avro writes it (zigzag). */
function avroText(text: string): Buffer {
  return Buffer.concat([Buffer.of(2 * text.length), Buffer.from(text)]);
}

/** A field of Protocol Buffers: its tag, its length, its bytes. */
function protobufText(field: number, text: string): Buffer {
  return Buffer.concat([Buffer.of(field * 8 + 2, text.length), Buffer.from(text)]);
}

/** {"event_id": id} as BSON: sizes as little-endian integers, text ended by NUL. */
function bson(id: string): Buffer {
  const name = Buffer.from("\x02event_id\0");
  const document = Buffer.alloc(4 + name.length + 4 + id.length + 2);
  document.writeInt32LE(document.length, 0);
  name.copy(document, 4);
  document.writeInt32LE(id.length + 1, 4 + name.length);
  document.write(id, 8 + name.length);
  return document;
}

/** The text as UTF-16, big-endian. */
function utf16be(text: string): Buffer {
  return Buffer.from(text, "utf16le").swap16();
}

/** The text as UTF-32, little-endian, with its byte order mark. */
function utf32(text: string): Buffer {
  const units = Uint32Array.from(`\ufeff${text}`, (character) => character.codePointAt(0)!);
  return Buffer.from(units.buffer);
}

const COMPRESSED: readonly HostileKind[] = [
  rejected("an event in gzip", "not_utf8", (id) => Bun.gzipSync(eventWith(id))),
  rejected("an event in zstd", "not_utf8", (id) => Bun.zstdCompressSync(eventWith(id))),
  rejected("an event in the snappy of Java", "not_utf8", (id) =>
    Buffer.concat([XERIAL_SNAPPY, Buffer.from(eventWith(id))]),
  ),
  rejected("an event in base64", "not_json", (id) => Buffer.from(eventWith(id)).toString("base64")),
];

const SERIALIZED: readonly HostileKind[] = [
  rejected(
    "Avro with the header of a schema registry",
    "not_json",
    (id) => Buffer.concat([REGISTRY_HEADER, avroText(id), avroText("user_1")]),
    "schema 42), followed by data that are not JSON",
  ),
  rejected("Avro, single object", "not_utf8", (id) => Buffer.concat([AVRO_SINGLE_OBJECT, avroText(id)])),
  rejected("Protocol Buffers", "not_json", (id) =>
    Buffer.concat([protobufText(1, id), protobufText(2, "user_1")]),
  ),
  rejected("MessagePack", "not_utf8", (id) =>
    Buffer.concat([
      Buffer.of(0x81, 0xa8),
      Buffer.from("event_id"),
      Buffer.of(0xa0 + id.length),
      Buffer.from(id),
    ]),
  ),
  rejected("CBOR", "not_utf8", (id) =>
    Buffer.concat([
      Buffer.of(0xa1, 0x68),
      Buffer.from("event_id"),
      Buffer.of(0x60 + id.length),
      Buffer.from(id),
    ]),
  ),
  rejected("BSON", "not_json", bson),
  rejected("a serialized Java object", "not_utf8", (id) => Buffer.concat([JAVA_SERIALIZED, Buffer.from(id)])),
];

const ENCODED: readonly HostileKind[] = [
  rejected("UTF-16, big-endian, without a mark", "not_json", (id) => utf16be(eventWith(id)), "UTF-16"),
  rejected("UTF-16, little-endian, without a mark", "not_json", (id) =>
    Buffer.from(eventWith(id), "utf16le"),
  ),
  rejected("UTF-32", "not_utf8", (id) => utf32(eventWith(id))),
  rejected("UTF-7", "not_json", (id) => `+AHsAIg-event_id+ACI-:+ACI-${id}+ACIAfQ-`),
  rejected("Latin-1", "not_utf8", (id) => Buffer.from(eventWith(id, { user_id: '"Zoé"' }), "latin1")),
  rejected("a byte order mark alone", "not_json", () => "\ufeff"),
  rejected("a byte order mark at the end", "not_json", (id) => `${eventWith(id)}\ufeff`),
];

const ENVELOPES: readonly HostileKind[] = [
  rejected(
    "the envelope of Kafka Connect",
    "missing_field",
    (id) => `{"schema":{"type":"struct"},"payload":${eventWith(id)}}`,
    "the envelope {schema, payload} of Kafka Connect",
  ),
  rejected(
    "the envelope of CloudEvents",
    "missing_field",
    (id) => `{"specversion":"1.0","id":"${id}","type":"click","source":"/","data":${eventWith(id)}}`,
  ),
  rejected(
    "a row change of Debezium",
    "missing_field",
    (id) => `{"before":null,"after":${eventWith(id)},"op":"c"}`,
  ),
  rejected("JSON in a JSON string", "not_an_object", (id) => JSON.stringify(eventWith(id))),
  rejected("an array of two events", "not_an_object", (id) => `[${eventWith(id)},${eventWith(`${id}_2`)}]`),
  rejected("two lines of JSON", "not_json", (id) => `${eventWith(id)}\n${eventWith(`${id}_2`)}\n`),
  rejected("a JSON text sequence", "not_json", (id) => `\x1e${eventWith(id)}\n`),
  rejected("a prefix against script inclusion", "not_json", (id) => `)]}',\n${eventWith(id)}`),
  rejected("JSON that C ended with NUL", "not_json", (id) => `${eventWith(id)}\0`),
  rejected("XML", "not_json", (id) => `<?xml version="1.0"?><event id="${id}"/>`),
];

const DIALECTS: readonly HostileKind[] = [
  rejected("a dict that Python printed", "not_json", (id) => eventWith(id).replaceAll('"', "'")),
  rejected("keys without quotes", "not_json", (id) => eventWith(id).replaceAll(/"(\w+)":/g, "$1:")),
  rejected("a comment", "not_json", (id) => eventWith(id).replace(",", ",/* the user */")),
  rejected("typographic quotes", "not_json", (id) => eventWith(id).replaceAll('"', "”")),
  rejected("semicolons", "not_json", (id) => eventWith(id).replaceAll(",", ";")),
  rejected("a no-break space between members", "not_json", (id) => eventWith(id).replace(",", ",\u00a0")),
  rejected("a form feed between members", "not_json", (id) => eventWith(id).replace(",", ",\f")),
  rejected("brackets that do not match", "not_json", (id) => eventWith(id, { event_data: '{"a":[1}' })),
  rejected("one brace too many", "not_json", (id) => `${eventWith(id)}}`),
  rejected("True and None", "not_json", (id) => eventWith(id, { event_data: '{"a":True,"b":None}' })),
];

export const FOREIGN_FORMATS: readonly HostileKind[] = [
  ...COMPRESSED,
  ...SERIALIZED,
  ...ENCODED,
  ...ENVELOPES,
  ...DIALECTS,
];
