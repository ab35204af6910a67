// Reads one section of the configuration from the environment variables that its schema names.
import { type Static, type TObject, type TOptional, type TProperties, type TSchema, Type } from "typebox";
import { Check } from "typebox/value";
import { type Environment, parseDecimal, readSecret, readText } from "./environment.ts";
import type { SettingOptions } from "./setting.ts";

/** The values of a section. An optional setting without a value is undefined. */
export type SectionValues<Properties extends TProperties> = {
  readonly [Name in keyof Properties]: Properties[Name] extends TOptional<Properties[Name]>
    ? Static<Properties[Name]> | undefined
    : Static<Properties[Name]>;
};

type Value = string | number | boolean | readonly string[] | undefined;

export interface SectionSource {
  readonly environment: Environment;
  /** Gets every problem: the variable, its value and what is allowed. */
  readonly problems: string[];
  /** False leaves secrets unread and empty. */
  readonly readSecrets: boolean;
}

/** A wrong number becomes NaN, which no comparison finds wrong a second time; any other wrong value its default. */
export function readSection<Properties extends TProperties>(
  { properties }: TObject<Properties>,
  source: SectionSource,
): SectionValues<Properties> {
  const values = Object.entries(properties).map(([name, schema]) => [name, readSetting(schema, source)]);
  return Object.fromEntries(values) as SectionValues<Properties>;
}

/** The environment variables of a section, each with its default as text ("" = none). */
export function variablesOf({ properties }: TObject): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const schema of Object.values(properties)) {
    const { variable, isSecret, isUrl, default: byDefault = "" } = optionsOf(schema);
    variables[variable] = String(byDefault);
    if (isSecret || isUrl) variables[`${variable}_FILE`] = "";
  }
  return variables;
}

/** Adds what is wrong with the value of a variable. */
export function addProblem(problems: string[], variable: string, value: unknown, problem: string): void {
  problems.push(`${variable}=${withoutCredentials(String(value))}: ${problem}`);
}

/** Secrets are left out, and so is what a URL may hold of them. */
export function describeSection(
  { properties }: TObject,
  values: Readonly<Record<string, Value>>,
): Record<string, string | number | boolean> {
  const described: Record<string, string | number | boolean> = {};
  for (const [name, value] of Object.entries(values)) {
    const schema = properties[name];
    if (value === undefined) continue;
    const { isSecret = false, isCommand = false } = schema === undefined ? {} : optionsOf(schema);
    if (isSecret || isCommand) described[name] = value === "" ? "(none)" : REDACTED;
    else if (value === Infinity) described[name] = "unlimited";
    else if (typeof value === "number" || typeof value === "boolean") described[name] = value;
    else described[name] = withoutCredentials(String(value));
  }
  return described;
}

export const REDACTED = "(redacted)";

/**
 * Replaces what may be a user name, a password or a token within URLs, whether or not they are valid: a password in a wrong
 * URL can hold any character.
 */
export function withoutCredentials(text: string): string {
  return text
    .replace(/\/\/\S*@/g, `//${REDACTED}@`)
    .replace(/^[^\s:@]*:(?!\/\/)\S*@/, `${REDACTED}@`)
    .replace(/(\/\/[^\s?#]*)[?#]\S+/g, `$1?${REDACTED}`);
}

function readSetting(schema: TSchema, { environment, problems, readSecrets }: SectionSource): unknown {
  const { variable, isSecret, isUrl, allowed, default: byDefault } = optionsOf(schema);
  if (isSecret && !readSecrets) return "";
  const secret = isSecret || (isUrl && readSecrets) ? readSecret(environment, variable, problems) : undefined;
  const text = secret === undefined ? readText(environment, variable) : isUrl ? secret.trim() : secret;
  if (text === "" && !(isSecret && secret !== undefined)) return byDefault;
  const value = valueOf(schema, text);
  if (Check(schema, value)) return value;
  const wrong = isSecret ? [REDACTED] : wrongPartsOf(schema, value, text);
  for (const part of wrong) addProblem(problems, variable, part, `must be ${allowed}`);
  return Type.IsInteger(schema) || Type.IsNumber(schema) ? Number.NaN : byDefault;
}

/** The value that `text` writes, of the schema's type where it can be read as one. */
function valueOf(schema: TSchema, text: string): unknown {
  if (Type.IsInteger(schema) || Type.IsNumber(schema)) return parseDecimal(text);
  if (Type.IsBoolean(schema)) {
    return /^(true|1|yes)$/i.test(text) || (/^(false|0|no)$/i.test(text) ? false : undefined);
  }
  if (Type.IsEnum(schema)) return text.toLowerCase();
  if (Type.IsArray(schema)) return splitList(text);
  return text;
}

/** The wrong items of a list, or the whole text where each item is right. */
function wrongPartsOf(schema: TSchema, value: unknown, text: string): readonly string[] {
  if (!Type.IsArray(schema) || !Array.isArray(value)) return [text];
  const wrong = value.filter((item) => !Check(schema.items, item)).map(String);
  return wrong.length > 0 ? wrong : [text];
}

function optionsOf(schema: TSchema): SettingOptions {
  return schema as SettingOptions;
}

function splitList(text: string): string[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}
