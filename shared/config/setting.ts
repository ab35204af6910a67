// Builds the schemas of settings: an environment variable with the type, the bounds and the default of its value.
import {
  type TBoolean,
  type TEnum,
  type TInteger,
  type TNumber,
  type TOptional,
  type TString,
  Type,
} from "typebox";

/** What the schema of a setting says about its variable. */
export interface SettingOptions {
  /** The name of the environment variable. */
  readonly variable: string;
  readonly default?: unknown;
  /** The allowed values, after "must be". */
  readonly allowed: string;
  /** The value stays out of messages and logs, and may come from the file that `<variable>_FILE` names. */
  readonly isSecret?: true;
  /** The value is shown without what may be a password or a token, and may come from that file as well. */
  readonly isUrl?: true;
  /** The value is a command whose output is a secret: it stays out of messages and logs, too. */
  readonly isCommand?: true;
}

type Range = readonly [minimum: number, maximum: number];

/** A whole number within bounds; without a default only as an optional setting. */
export function integer(variable: string, [minimum, maximum]: Range, byDefault?: number): TInteger {
  const allowed = `a whole number from ${minimum} to ${maximum}`;
  return Type.Integer({ variable, default: byDefault, minimum, maximum, allowed });
}

/** A number within bounds. */
export function decimal(variable: string, [minimum, maximum]: Range, byDefault?: number): TNumber {
  const allowed = `a number from ${minimum} to ${maximum}`;
  return Type.Number({ variable, default: byDefault, minimum, maximum, allowed });
}

/** true, false, 1, 0, yes or no, in any case. */
export function boolean(variable: string, byDefault: boolean): TBoolean {
  return Type.Boolean({ variable, default: byDefault, allowed: "true or false" });
}

/** One of several words, in any case. */
export function choice<Choices extends string[]>(
  variable: string,
  choices: readonly [...Choices],
  byDefault: Choices[number],
): TEnum<Choices> {
  return Type.Enum(choices, { variable, default: byDefault, allowed: `one of ${choices.join(", ")}` });
}

/** Any text that fits. @param pattern must agree with the words of `allowed` */
export function text(
  variable: string,
  byDefault: string | undefined,
  pattern: RegExp | ((text: string) => boolean),
  allowed: string,
  secrecy: Pick<SettingOptions, "isSecret" | "isUrl"> = {},
): TString {
  const schema = Type.String({ variable, default: byDefault, allowed, ...secrecy });
  return Type.Refine(schema, typeof pattern === "function" ? pattern : (value) => pattern.test(value));
}

/** A file that exists somewhere: only its use shows whether it can be read. */
export function path(variable: string): TOptional<TString> {
  return Type.Optional(Type.String({ variable, pattern: /./, allowed: "the path of a file" }));
}

/** A command for the shell; see `runSecretCommand`. */
export function command(variable: string): TOptional<TString> {
  return Type.Optional(
    Type.String({ variable, pattern: /./, allowed: "a command for the shell", isCommand: true }),
  );
}
