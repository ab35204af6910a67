// Gives one client a new token whenever librdkafka asks for one.
import { errorMessage } from "../runtime/errors.ts";
import { ErrorCode } from "./error-codes.ts";
import { EventType } from "./ffi/bindings.ts";
import type { Library } from "./ffi/library.ts";
import { type Pointer, pointer } from "./ffi/memory.ts";
import { fetchOauthToken, type OauthToken } from "./oauth-token.ts";

const POLL_MS = 100;

/**
 * librdkafka asks when a client starts and after four fifths of a token's life, in a queue of its own: a consumer that
 * waits with the answer to a rebalance still gets its token. Open connections log in again with it, without a break.
 */
export class OauthLogin {
  readonly #library: Library;
  readonly #client: Pointer;
  readonly #queue: Pointer;
  readonly #command: string;
  /** Names and values in turn. */
  readonly #extensions: readonly string[];
  readonly #timer: Timer;
  #isClosed = false;

  /**
   * @param client made with `rd_kafka_conf_enable_sasl_queue` and events of the type `oauthToken`
   * @param extensions what the brokers want besides the token: `logicalCluster=lkc-1,identityPoolId=pool-1`
   */
  constructor(library: Library, client: Pointer, command: string, extensions = "") {
    this.#library = library;
    this.#client = client;
    this.#command = command;
    this.#extensions = extensions.split(",").flatMap((pair) => {
      const [name = "", ...value] = pair.split("=");
      return name.trim() === "" ? [] : [name.trim(), value.join("=").trim()];
    });
    this.#queue = pointer(library.c.rd_kafka_queue_get_sasl(client), "rd_kafka_queue_get_sasl");
    this.#timer = setInterval(() => this.#poll(), POLL_MS);
    this.#timer.unref();
  }

  /** Call it before the client is destroyed. */
  close(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#library.c.rd_kafka_queue_destroy(this.#queue);
  }

  #poll(): void {
    for (;;) {
      const event = this.#library.nextEvent(this.#queue);
      if (event === undefined) return;
      const isRequest = this.#library.c.rd_kafka_event_type(event) === EventType.oauthToken;
      this.#library.c.rd_kafka_event_destroy(event);
      if (isRequest) void this.#renew();
    }
  }

  async #renew(): Promise<void> {
    try {
      const token = await fetchOauthToken(this.#command);
      if (!this.#isClosed) this.#set(token);
    } catch (error) {
      // librdkafka reports it as an error of the client, and asks again after 10 s.
      const { c } = this.#library;
      if (!this.#isClosed) c.rd_kafka_oauthbearer_set_token_failure(this.#client, errorMessage(error));
    }
  }

  /** @throws Error when librdkafka does not accept it */
  #set({ value, expiresAtMs, principal }: OauthToken): void {
    const { c, errorBuffer: buffer } = this.#library;
    const code = this.#library.withTexts(this.#extensions, (texts) =>
      c.rd_kafka_oauthbearer_set_token(
        this.#client,
        value,
        Math.floor(expiresAtMs),
        principal,
        this.#extensions.length === 0 ? null : texts,
        this.#extensions.length,
        buffer,
        buffer.length,
      ),
    );
    if (code !== ErrorCode.none) throw new Error(`the token is not accepted: ${this.#library.errorText}`);
  }
}
