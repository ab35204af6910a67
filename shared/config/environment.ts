// Reads text, numbers and secrets from environment variables.
import { readFileSync } from "node:fs";
import { errorMessage } from "../runtime/errors.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** The trimmed value; "" where the variable is missing or empty. */
export function readText(environment: Environment, name: string): string {
  return (environment[name] ?? "").trim();
}

/**
 * A secret: the value of the variable (an empty value is an empty secret), or the content of the file that
 * `<name>_FILE` names, without its last newline.
 * @param problems gets what is wrong, without the secret
 * @returns undefined where neither variable is set
 */
export function readSecret(environment: Environment, name: string, problems: string[]): string | undefined {
  const file = `${name}_FILE`;
  const path = readText(environment, file);
  const value = environment[name];
  if (path === "") return value;
  if (value !== undefined && value !== "") {
    problems.push(`${name} and ${file} are both set: leave one of them out`);
    return value;
  }
  try {
    return readSecretFile(path);
  } catch (error) {
    problems.push(`${file}=${path}: cannot be read (${errorMessage(error)})`);
    return "";
  }
}

/** The secret in a file, without its last newline. @throws the system's error where the file cannot be read */
export function readSecretFile(path: string): string {
  return readFileSync(path, "utf8").replace(/\r?\n$/, "");
}

/** A decimal number, or undefined; unlike Number(), it takes neither hexadecimal nor empty text. */
export function parseDecimal(text: string): number | undefined {
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : undefined;
}
