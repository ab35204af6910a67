// Creates librdkafka clients from settings, and reads their errors.
import { OAUTH_TOKEN_COMMAND, variableOf } from "../config/kafka-properties.ts";
import { ConfigurationError, FatalError } from "../runtime/errors.ts";
import { ErrorCode } from "./error-codes.ts";
import { EventType } from "./ffi/bindings.ts";
import type { Library } from "./ffi/library.ts";
import { loadLibrary } from "./ffi/load-library.ts";
import { isNull, type Pointer, pointer } from "./ffi/memory.ts";
import { OauthLogin } from "./oauth-login.ts";
import { PASSWORD_FILE, SaslPassword } from "./sasl-password.ts";

/** librdkafka's properties by their own names ("ssl.ca.location"), and `PASSWORD_FILE` and `OAUTH_TOKEN_COMMAND`. */
export type Settings = Readonly<Record<string, string>>;

/** An error of the client or a broker. One that is not fatal is information: librdkafka keeps trying. */
export interface ErrorReport {
  readonly code: number;
  /** The code's name, such as `_TRANSPORT`. */
  readonly name: string;
  readonly message: string;
  /** The client does nothing more. */
  readonly fatal: boolean;
}

/** A line of librdkafka's log; the level is syslog's (0 worst, 7 debug). */
export interface LogLine {
  readonly level: number;
  readonly facility: string;
  readonly message: string;
}

/** Set for every client: it logs through events instead of to stderr. */
const OWN_SETTINGS: Settings = { "log.queue": "true" };

const CLIENT_TYPE = { producer: 0, consumer: 1 } as const;
const UNKNOWN_PROPERTY = -2;
/** rd_kafka_destroy_flags: do not close the consumer first, which may wait for the group's coordinator. */
const NO_CONSUMER_CLOSE = 8;

/** One `rd_kafka_t`. Its creator destroys it, after everything that was created from it. */
export class Client {
  readonly library: Library;
  readonly handle: Pointer;
  readonly #password: SaslPassword | undefined;
  readonly #oauthLogin: OauthLogin | undefined;

  private constructor(
    library: Library,
    handle: Pointer,
    password: SaslPassword | undefined,
    oauthLogin: OauthLogin | undefined,
  ) {
    this.library = library;
    this.handle = handle;
    this.#password = password;
    this.#oauthLogin = oauthLogin;
  }

  /**
   * @param events bits of EventType: what the client's queue carries besides logs and errors
   * @throws ConfigurationError naming each variable that librdkafka refuses
   */
  static create(type: keyof typeof CLIENT_TYPE, settings: Settings, events: number): Client {
    const library = loadLibrary();
    const { c } = library;
    const { [PASSWORD_FILE]: passwordFile, [OAUTH_TOKEN_COMMAND]: tokenCommand, ...given } = settings;
    const password =
      passwordFile === undefined
        ? undefined
        : new SaslPassword(passwordFile, (changed) => {
            const login = c.rd_kafka_sasl_set_credentials(handle, given["sasl.username"] ?? "", changed);
            library.takeError(login, "the new password is not accepted");
          });
    const secrets = password === undefined ? {} : { "sasl.password": password.current };
    const configuration = pointer(c.rd_kafka_conf_new(), "rd_kafka_conf_new");
    const problems: string[] = [];
    for (const [name, value] of Object.entries({ ...given, ...secrets, ...OWN_SETTINGS })) {
      const buffer = library.errorBuffer;
      const result = c.rd_kafka_conf_set(configuration, name, value, buffer, buffer.length);
      if (result === UNKNOWN_PROPERTY) {
        problems.push(`${variableOf(name)}: librdkafka has no property ${name}`);
      } else if (result !== 0) {
        problems.push(`${variableOf(name)}: ${library.errorText}`);
      }
    }
    if (problems.length > 0) {
      c.rd_kafka_conf_destroy(configuration);
      throw new ConfigurationError(problems);
    }
    if (tokenCommand !== undefined) c.rd_kafka_conf_enable_sasl_queue(configuration, 1);
    const oauthEvents = tokenCommand === undefined ? 0 : EventType.oauthToken;
    c.rd_kafka_conf_set_events(configuration, events | oauthEvents | EventType.log | EventType.error);
    const buffer = library.errorBuffer;
    const client = c.rd_kafka_new(CLIENT_TYPE[type], configuration, buffer, buffer.length);
    if (isNull(client)) {
      const code = c.rd_kafka_last_error();
      c.rd_kafka_conf_destroy(configuration);
      throw refusal(library.errorText, code, settings);
    }
    const handle = pointer(client, "rd_kafka_new");
    library.takeError(c.rd_kafka_set_log_queue(handle, null), "the log cannot be received");
    const oauthLogin =
      tokenCommand === undefined
        ? undefined
        : new OauthLogin(library, handle, tokenCommand, given["sasl.oauthbearer.extensions"]);
    return new Client(library, handle, password, oauthLogin);
  }

  /** Reads an error event. */
  readError(event: Pointer): ErrorReport {
    const { c } = this.library;
    const code = c.rd_kafka_event_error(event);
    if (code === ErrorCode.authentication) this.#password?.refused();
    const message = c.rd_kafka_event_error_string(event) ?? "";
    if (code !== ErrorCode.fatal && c.rd_kafka_event_error_is_fatal(event) === 0) {
      return { code, name: this.library.errorName(code), message, fatal: false };
    }
    return this.fatalError() ?? { code, name: this.library.errorName(code), message, fatal: true };
  }

  /** The error that ended this client, if one did. */
  fatalError(): ErrorReport | undefined {
    const { errorBuffer: buffer, c } = this.library;
    const code = c.rd_kafka_fatal_error(this.handle, buffer, buffer.length);
    if (code === ErrorCode.none) return undefined;
    return { code, name: this.library.errorName(code), message: this.library.errorText, fatal: true };
  }

  /** Waits for the client's threads and frees it. Never returns while one of its events is not freed. */
  destroy(): void {
    this.#password?.close();
    this.#oauthLogin?.close();
    this.library.c.rd_kafka_destroy_flags(this.handle, NO_CONSUMER_CLOSE);
  }
}

/** The text of rd_kafka_new has property names in backticks. */
function refusal(message: string, code: number, settings: Settings): Error {
  if (code === ErrorCode.criticalSystemResource) return new FatalError(`librdkafka cannot start: ${message}`);
  const named = Object.keys(settings).filter((name) => message.includes(`\`${name}\``));
  const variables = named.map(variableOf).join(", ");
  return new ConfigurationError([`${variables || "KAFKA_CONFIG_*"}: ${message}`]);
}
