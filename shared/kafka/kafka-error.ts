// A librdkafka error code in; an exception that carries it out.

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
}
