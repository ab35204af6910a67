// Makes the function by which the store sends statements, with the driver's rules for transactions and savepoints.

import { codeOf } from "../../../shared/runtime/errors.ts";
import type { Database, Transaction } from "../../../shared/store/session.ts";
import { knownStatement } from "./known-statements.ts";
import type { Request } from "./request.ts";
import type { Answer, Parameters } from "./statement.ts";

type Send = (request: Request) => Promise<Answer>;
type Body = (tx: Transaction) => Promise<unknown>;

/** A statement that is sent when it is awaited, as the driver's are. */
class Query {
  readonly #send: Send;
  readonly #text: string;
  readonly #parameters: Parameters;

  constructor(send: Send, text: string, parameters: Parameters) {
    this.#send = send;
    this.#text = text;
    this.#parameters = parameters;
  }

  // oxlint-disable-next-line unicorn/no-thenable -- the driver's queries are thenables too
  then<A, B>(
    onAnswer: (rows: unknown) => A | PromiseLike<A>,
    onError: (error: unknown) => B | PromiseLike<B>,
  ): Promise<A | B> {
    return this.#run().then(onAnswer, onError);
  }

  catch<B>(onError: (error: unknown) => B | PromiseLike<B>): Promise<unknown> {
    return this.#run().catch(onError);
  }

  /** Begins a COPY that gets no input. */
  async writable(): Promise<{ on: () => void }> {
    await this.#send({ kind: "copy", known: knownStatement(this.#text) });
    return { on: () => undefined };
  }

  async #run(): Promise<unknown> {
    const known = knownStatement(this.#text);
    const { rows, count } = await this.#send({ kind: "statement", known, parameters: this.#parameters });
    return Object.assign([...rows], { count });
  }
}

/** @param send sends a request, and waits for the answers of those before it first */
export function makeSql(send: Send): Database {
  const sql = queriesOf(send);
  const begin = async (body: Body): Promise<unknown> => {
    await send({ kind: "begin" });
    return await new Scope(send).run(undefined, body);
  };
  return Object.assign(sql, { begin }) as unknown as Database;
}

/** `sql` of a scope: tagged templates and `unsafe`. */
function queriesOf(send: Send) {
  const tagged = (strings: TemplateStringsArray, ...values: unknown[]) =>
    new Query(send, textOf(strings), values);
  return Object.assign(tagged, {
    unsafe: (text: string, parameters: Parameters = []) => new Query(send, text, parameters),
  });
}

const texts = new WeakMap<TemplateStringsArray, string>();

function textOf(strings: TemplateStringsArray): string {
  let text = texts.get(strings);
  if (text === undefined) {
    text = strings.reduce((before, string, index) => `${before}$${index}${string}`);
    texts.set(strings, text);
  }
  return text;
}

/** A transaction, or a savepoint in it. */
class Scope {
  readonly #send: Send;
  #savepoints = 0;

  constructor(send: Send) {
    this.#send = send;
  }

  /** Ends with COMMIT or with ROLLBACK, as the driver does: also where the body has caught the error of a statement. */
  async run(savepoint: string | undefined, body: Body): Promise<unknown> {
    let first: { readonly error: unknown } | undefined;
    const send: Send = (request) => {
      const sent = this.#send(request);
      // The driver takes a COPY for done as soon as its input is accepted.
      if (request.kind !== "copy data") sent.catch((error: unknown) => (first ??= { error }));
      return sent;
    };
    const copyIn = async (statement: string, input: Uint8Array): Promise<void> => {
      await send({ kind: "copy", known: knownStatement(statement) });
      // The store reuses its buffer. An error of the COPY is not reported here: the next statement shows it.
      send({ kind: "copy data", bytes: Uint8Array.from(input) }).catch(() => undefined);
    };
    const tx = Object.assign(queriesOf(send), {
      copyIn,
      savepoint: (inner: Body) => this.run(`s${this.#savepoints++}`, inner),
    });
    if (savepoint !== undefined) await this.#send({ kind: "savepoint", name: savepoint });
    let result: unknown;
    try {
      result = await body(tx as unknown as Transaction);
      // oxlint-disable-next-line typescript/only-throw-error -- whatever a statement has thrown
      if (first !== undefined) throw first.error;
    } catch (error) {
      await this.#send(
        savepoint === undefined ? { kind: "rollback" } : { kind: "rollback to", name: savepoint },
      );
      throw codeOf(error) === "25P02" && first !== undefined ? first.error : error;
    }
    if (savepoint === undefined) await this.#send({ kind: "commit" });
    return result;
  }
}
