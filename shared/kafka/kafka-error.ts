// Carries an error code of Kafka or librdkafka as an exception.
import { type ErrorKind, errorKind, errorMeaning } from "./error-codes.ts";

/** A refusal by librdkafka or a broker. `code` is rd_kafka_resp_err_t: positive ones are the protocol's. */
export class KafkaError extends Error {
  override readonly name = "KafkaError";
  readonly code: number;
  /** The code's name, such as `MSG_SIZE_TOO_LARGE` or `_TIMED_OUT`. */
  readonly codeName: string;

  constructor(code: number, codeName: string, message: string) {
    super(`${message} (${codeName}, ${code})`);
    this.code = code;
    this.codeName = codeName;
  }

  /** What to do about it. */
  get kind(): ErrorKind {
    return errorKind(this.code);
  }

  /** What it means, in one clause for a person; undefined where only the message says it. */
  get meaning(): string | undefined {
    return errorMeaning(this.code);
  }
}
