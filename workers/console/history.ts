// Values in, one a second; the last five minutes of them out.

const KEPT = 300;

export class History<Value> {
  readonly #values: Value[] = [];

  push(value: Value): void {
    this.#values.push(value);
    if (this.#values.length > KEPT) this.#values.shift();
  }

  /** The newest; there must be one. */
  last(): Value {
    return this.#values.at(-1)!;
  }

  /** Oldest first. */
  all(): Value[] {
    return [...this.#values];
  }
}
