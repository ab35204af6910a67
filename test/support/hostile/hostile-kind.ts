// Describes a kind of hostile record: how to make one, and what must become of it.
import type { RejectionReason } from "../../../shared/event.ts";
import type { RawRecord } from "../raw-producer.ts";

/** The columns of raw_events that a kind decides; the others are not compared. */
export interface StoredEvent {
  /** By default the id that the record was made with. */
  readonly event_id?: string;
  readonly user_id?: string;
  readonly event_type?: string;
  /** UTC, to the microsecond: "2026-01-01T10:00:00.000000Z". */
  readonly timestamp?: string;
  readonly duration_seconds?: number | null;
  /** JSON text. */
  readonly event_data?: string;
}

/** What must become of a record, by the contract in the README. */
export type Verdict =
  | { readonly place: "stored"; of(id: string): StoredEvent }
  | { readonly place: "duplicate" }
  | {
      readonly place: "dead letter";
      readonly reason: RejectionReason;
      /** A part of the dead letter's error. */
      readonly error?: string | undefined;
    };

export interface HostileKind {
  readonly name: string;
  readonly verdict: Verdict;
  /** True: made with the id of the kind before it in the list. */
  readonly repeatsId?: boolean;
  /** @param id one that no other record of the topic was made with, but for those that repeat it */
  record(id: string): RawRecord;
}

type Content = string | Uint8Array | undefined | RawRecord;
type Make = (id: string) => Content;

/** A kind that is an event. */
export function stored(
  name: string,
  make: Make,
  expected: StoredEvent | ((id: string) => StoredEvent) = {},
): HostileKind {
  const of = typeof expected === "function" ? expected : () => expected;
  return { name, verdict: { place: "stored", of }, record: recordBy(make) };
}

/** A kind that is no event. @param error a part of the dead letter's error */
export function rejected(name: string, reason: RejectionReason, make: Make, error?: string): HostileKind {
  return { name, verdict: { place: "dead letter", reason, error }, record: recordBy(make) };
}

/** A valid event with the event_id of the kind before it. */
export function duplicate(name: string, make: Make): HostileKind {
  return { name, verdict: { place: "duplicate" }, repeatsId: true, record: recordBy(make) };
}

function recordBy(make: Make): HostileKind["record"] {
  return (id) => {
    const content = make(id);
    if (typeof content === "string") return { value: Buffer.from(content) };
    return content === undefined || content instanceof Uint8Array ? { value: content } : content;
  };
}

/** JSON texts by member; undefined leaves the member out. */
export type Members = Readonly<Record<string, string | undefined>>;

/** The text of a valid event with some members replaced or added. */
export function eventWith(id: string, members: Members = {}): string {
  return objectOf({
    event_id: JSON.stringify(id),
    user_id: '"user_1"',
    event_type: '"click"',
    timestamp: '"2026-01-01T10:00:00Z"',
    event_data: '{"page_url":"/"}',
    ...members,
  });
}

/** The text of an event that ends with a text in place of its closing brace. */
export function eventEndingWith(id: string, end: string): string {
  return eventWith(id).slice(0, -1) + end;
}

/** The text of an event with `\uXXXX` for every UTF-16 unit of a text. */
export function escaped(text: string): string {
  return text
    .split("")
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
    .join("");
}

/** Replaces the text `here` by bytes that a string cannot hold. */
export function withBytes(text: string, ...bytes: readonly number[]): Buffer {
  const [before = "", after = ""] = text.split("here");
  return Buffer.concat([Buffer.from(before), Buffer.from(bytes), Buffer.from(after)]);
}

function objectOf(members: Members): string {
  const texts = Object.entries(members).flatMap(([name, json]) =>
    json === undefined ? [] : [`${JSON.stringify(name)}:${json}`],
  );
  return `{${texts.join(",")}}`;
}
