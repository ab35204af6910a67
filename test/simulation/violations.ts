// Keeps the first thing in a history that must not happen.

/** Something happened that must not. */
export class Violated extends Error {
  override readonly name = "Violated";
}

export class Violations {
  first: Violated | undefined;

  note(message: string): void {
    this.first ??= new Violated(message);
  }

  /** Runs a proof, and notes what it throws. */
  prove(proof: () => void): void {
    try {
      proof();
    } catch (error) {
      if (!(error instanceof Violated)) throw error;
      this.first ??= error;
    }
  }

  throwIfAny(): void {
    if (this.first !== undefined) throw this.first;
  }
}

export function violated(message: string): never {
  throw new Violated(message);
}

export function expectSame(what: string, found: unknown, expected: unknown): void {
  if (found !== expected) violated(`${what}: ${String(found)}, expected ${String(expected)}`);
}
