// Shows one dead letter: where it came from, why it was rejected, what became of it, and its bytes as text and as hex.

import { FatalError } from "../../shared/runtime/errors.ts";
import { previewOf } from "../../shared/store/payload-preview.ts";
import { type Letter, readLetterPage } from "../../shared/store/dead-letters/letter-pages.ts";
import { bytes, count, printable } from "../../shared/text/format.ts";
import { type Command, DEADLINE_MS, print } from "./command.ts";
import { formatLetterId } from "./letter-id.ts";
import { letterJson } from "./letter-json.ts";

/** Of each payload; `--json` gives all of it. */
const SHOWN_BYTES = 4096;
const HEX_BYTES = 256;
const BYTES_OF_A_LINE = 16;

/** @param command with one letter as its selection */
export async function show({ session, selection, isJson }: Command): Promise<number> {
  const [letter] = await session.transaction(DEADLINE_MS, (tx) => readLetterPage(tx, selection));
  if (letter === undefined) throw new FatalError("the dead letter was deleted meanwhile");
  await print(isJson ? `${JSON.stringify(letterJson(letter))}\n` : format(letter));
  return 0;
}

function format(letter: Letter): string {
  const { topic, topicId, partition, reading, offset, stage, reason, error, state, attempts } = letter;
  const lines = [
    `dead letter ${formatLetterId(letter)}`,
    field(
      "from",
      `${topic}[${partition}] at offset ${count(offset)}, topic id ${topicId}, reading ${reading}`,
    ),
    field("first seen", letter.firstSeenAt.toISOString()),
    field("rejected", `${reason} in stage ${stage}: ${error}`),
    field("state", state),
    ...(attempts === 0 ? [] : [field("replays", count(attempts))]),
    ...(letter.changedAt === null ? [] : [field("changed", letter.changedAt.toISOString())]),
    ...optional("last rejected", letter.attemptError),
    ...optional("became event", letter.eventId),
    ...optional("discarded", letter.discardReason),
    ...optional("SHA-256", letter.valueSha256),
    ...payload("key", letter.key, letter.keyBytes),
    ...payload("headers", letter.headers, letter.headersBytes),
    ...payload("value", letter.value, letter.valueBytes),
    ...(letter.mendedValue === null ? [] : payload("mended value", letter.mendedValue, null)),
  ];
  return `${lines.join("\n")}\n`;
}

function field(name: string, text: string): string {
  return `  ${name.padEnd(13)}  ${printable(text)}`;
}

function optional(name: string, text: string | null): string[] {
  return text === null ? [] : [field(name, text)];
}

function payload(name: string, content: Buffer | null, fullBytes: number | null): string[] {
  if (content === null) return [field(name, "none")];
  const kept = fullBytes === null ? "" : `, of which ${bytes(content.length)} are kept`;
  const preview = previewOf(content.subarray(0, SHOWN_BYTES), content.length);
  const text = preview?.form === "text" ? preview.shown.split("\n").map((line) => `    ${line}`) : [];
  return [
    `  ${name}, ${bytes(fullBytes ?? content.length)}${kept}`,
    ...text,
    ...(text.length > 0 && content.length > SHOWN_BYTES ? ["    … (all of it with --json)"] : []),
    ...hexLines(content),
  ];
}

function hexLines(content: Buffer): string[] {
  const shown = content.subarray(0, HEX_BYTES);
  const lines = [];
  for (let at = 0; at < shown.length; at += BYTES_OF_A_LINE) {
    const hex = shown.subarray(at, at + BYTES_OF_A_LINE).toString("hex");
    lines.push(`    ${at.toString(16).padStart(6, "0")}  ${hex.replaceAll(/(..)(?=.)/g, "$1 ")}`);
  }
  return content.length > HEX_BYTES ? [...lines, "    …"] : lines;
}
