// Text of environment variables in, checked values out; every problem is collected instead of thrown.
import { readFileSync } from "node:fs";
import { errorMessage } from "../runtime/errors.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads variables whose defaults are given as text, just as config.example.env writes them. A wrong value
 * is added to `problems` and replaced (numbers by NaN, which no comparison finds wrong again), so that one run
 * finds all problems.
 * A variable that is empty counts as not set.
 */
export class EnvironmentReader<Name extends string> {
  readonly problems: string[] = [];
  readonly #environment: Environment;
  readonly #defaults: Readonly<Record<Name, string>>;

  constructor(environment: Environment, defaults: Readonly<Record<Name, string>>) {
    this.#environment = environment;
    this.#defaults = defaults;
  }

  /** True where the environment gives a value of its own. */
  isSet(name: string): boolean {
    return (this.#environment[name] ?? "").trim() !== "";
  }

  /** The value or its default, trimmed; may be empty. */
  text(name: Name): string {
    return (this.#environment[name] ?? "").trim() || this.#defaults[name];
  }

  /** Adds a problem: what is wrong with which variable, with what value, and what is wanted. */
  problem(name: string, value: string, wanted: string): void {
    this.problems.push(`${name}=${value}: ${wanted}`);
  }

  /** A number within [min, max]. */
  number(name: Name, min: number, max: number): number {
    const text = this.text(name);
    const value = parseDecimal(text);
    if (value !== undefined && value >= min && value <= max) return value;
    this.problem(name, text, `must be a number from ${min} to ${max}`);
    return Number.NaN;
  }

  /** A whole number within [min, max]. */
  integer(name: Name, min: number, max: number): number {
    const text = this.text(name);
    const value = parseDecimal(text);
    if (value !== undefined && Number.isInteger(value) && value >= min && value <= max) return value;
    this.problem(name, text, `must be a whole number from ${min} to ${max}`);
    return Number.NaN;
  }

  /** A whole number, or undefined where neither the environment nor the defaults give one. */
  optionalInteger(name: Name, min: number, max: number): number | undefined {
    return this.text(name) === "" ? undefined : this.integer(name, min, max);
  }

  boolean(name: Name): boolean {
    const text = this.text(name);
    if (/^(true|1|yes)$/i.test(text)) return true;
    if (/^(false|0|no)$/i.test(text)) return false;
    this.problem(name, text, "must be true or false");
    return false;
  }

  oneOf<Choice extends string>(name: Name, choices: readonly [Choice, ...Choice[]]): Choice {
    const text = this.text(name);
    const choice = choices.find((each) => each === text.toLowerCase());
    if (choice !== undefined) return choice;
    this.problem(name, text, `must be one of ${choices.join(", ")}`);
    return choices[0];
  }

  /** A value that must fit `pattern`. */
  matching(name: Name, pattern: RegExp, wanted: string): string {
    const text = this.text(name);
    if (!pattern.test(text)) this.problem(name, text, wanted);
    return text;
  }

  /**
   * A secret: the variable itself (an empty one is an empty secret), or the content of the file that
   * `<name>_FILE` names, without its last newline.
   */
  secret(name: string, fallback: string): string {
    const file = `${name}_FILE`;
    const path = (this.#environment[file] ?? "").trim();
    const value = this.#environment[name];
    if (path === "") return value ?? fallback;
    if (value !== undefined && value !== "") {
      this.problems.push(`${name} and ${file} are both set: leave one of them out`);
      return value;
    }
    try {
      return readFileSync(path, "utf8").replace(/\r?\n$/, "");
    } catch (error) {
      this.problem(file, path, `cannot be read (${errorMessage(error)})`);
      return "";
    }
  }
}

/** A decimal number, or undefined; unlike Number(), no hexadecimal and no empty text. */
export function parseDecimal(text: string): number | undefined {
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : undefined;
}
