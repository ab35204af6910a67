// Reads the command line of `bun run dead-letters`, and refuses what its commands do not take.

import { parseDecimal } from "../../shared/config/environment.ts";
import { ConfigurationError } from "../../shared/runtime/errors.ts";
import type { LetterPosition } from "../../shared/store/dead-letters/letter-pages.ts";
import { LETTER_STATES, type LetterSelection } from "../../shared/store/dead-letters/selection.ts";
import { parseLetterId } from "./letter-id.ts";
import { readSelection } from "./selection-options.ts";

export const OPTIONS = {
  all: { type: "boolean" },
  because: { type: "string" },
  "dry-run": { type: "boolean" },
  edit: { type: "string" },
  json: { type: "boolean" },
  limit: { type: "string" },
  rate: { type: "string" },
  reason: { type: "string" },
  since: { type: "string" },
  state: { type: "string" },
  topic: { type: "string" },
  until: { type: "string" },
} as const;

type OptionName = keyof typeof OPTIONS;
export type Options = {
  readonly [Name in OptionName]?:
    | ((typeof OPTIONS)[Name]["type"] extends "boolean" ? boolean : string)
    | undefined;
};

const SELECTING = ["reason", "topic", "since", "until"] as const satisfies OptionName[];
const ALWAYS = ["dry-run", "json"] as const satisfies OptionName[];

/** By command: the options that it takes. */
const COMMANDS = {
  list: [...SELECTING, "state", "limit"],
  show: [],
  replay: [...SELECTING, "all", "edit", "rate"],
  discard: [...SELECTING, "all", "because"],
  export: [...SELECTING, "all", "state"],
} as const satisfies Record<string, readonly OptionName[]>;

type CommandName = keyof typeof COMMANDS;

export interface CommandLine {
  readonly command: CommandName;
  /** Empty: the selection says which letters. */
  readonly ids: readonly LetterPosition[];
  /** Without keys. */
  readonly selection: LetterSelection;
  readonly edit: string | undefined;
  /** Letters a second. */
  readonly rate: number | undefined;
  readonly because: string;
  readonly limit: number;
  readonly isDryRun: boolean;
  readonly isJson: boolean;
}

const MAX_RATE = 1e6;
const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 10_000;

/** @param nowMs ms since 1970 @throws ConfigurationError with every problem */
export function readCommandLine(options: Options, args: readonly string[], nowMs: number): CommandLine {
  const [name = "", ...words] = args;
  if (!isCommand(name)) {
    const what = name === "" ? "a command is missing" : `there is no command ${name}`;
    throw new ConfigurationError([`${what}: ${Object.keys(COMMANDS).join(", ")} (see --help)`]);
  }
  const problems: string[] = [];
  const allowed: readonly OptionName[] = [...ALWAYS, ...COMMANDS[name]];
  const given = (Object.keys(options) as OptionName[]).filter((option) => options[option] !== undefined);
  for (const option of given) {
    if (!allowed.includes(option)) problems.push(`${name} takes no --${option} (see --help)`);
  }
  const isSelecting = given.some((option) => [...SELECTING, "all"].includes(option));
  const selection = readSelection(options, nowMs, problems);
  const isOne = name === "show";
  if (name === "list" && words.length > 0)
    problems.push(`list takes no id: bun run dead-letters show ${words[0]}`);
  if (isOne && words.length !== 1) problems.push("show takes one id, as list prints it");
  if (words.length > 0 && isSelecting) problems.push("give ids or a selection, not both");
  if ((name === "replay" || name === "discard") && words.length === 0 && !isSelecting)
    problems.push(`${name} needs ids, a selection (--reason, --topic, --since, --until), or --all`);
  if (name === "discard" && !options.because) problems.push("discard needs --because TEXT, the reason");
  const line: CommandLine = {
    command: name,
    ids: idsOf(name === "list" ? [] : words, problems),
    // By its id a letter is found in any state; only open ones are replayed or discarded.
    selection: isOne ? { states: LETTER_STATES } : selection,
    edit: options.edit,
    rate: numberOf("--rate", options.rate, MAX_RATE, problems),
    because: options.because ?? "",
    limit: Math.ceil(numberOf("--limit", options.limit, MAX_LIMIT, problems) ?? DEFAULT_LIMIT),
    isDryRun: options["dry-run"] ?? false,
    isJson: options.json ?? false,
  };
  if (problems.length > 0) throw new ConfigurationError(problems);
  return line;
}

function isCommand(name: string): name is CommandName {
  return Object.hasOwn(COMMANDS, name);
}

function idsOf(words: readonly string[], problems: string[]): LetterPosition[] {
  return words.flatMap((word) => {
    const id = parseLetterId(word);
    if (id === undefined) problems.push(`${word} is no id of a dead letter: TOPIC/PARTITION/OFFSET is one`);
    return id ?? [];
  });
}

function numberOf(
  option: string,
  text: string | undefined,
  most: number,
  problems: string[],
): number | undefined {
  if (text === undefined) return undefined;
  const number = parseDecimal(text);
  if (number !== undefined && number > 0 && number <= most) return number;
  problems.push(`${option} ${text}: must be a number above 0, at most ${most}`);
  return undefined;
}
