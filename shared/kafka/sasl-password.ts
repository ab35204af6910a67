// Takes a client's SASL password from a file, and takes it again while brokers refuse the old one.

import { readSecretFile } from "../config/environment.ts";
import { variableOf } from "../config/kafka-properties.ts";
import { ConfigurationError, errorMessage } from "../runtime/errors.ts";

/** Our own property beside those of librdkafka: the file that has `sasl.password`. */
export const PASSWORD_FILE = "sasl.password.file";

const LOOK_AGAIN_MS = 1000;

/** The password of one client. librdkafka logs in again by itself, each time with the password that it has then. */
export class SaslPassword {
  readonly #path: string;
  readonly #onChanged: (password: string) => void;
  #current: string;
  #timer: Timer | undefined;

  /**
   * @param onChanged gets the password that the file has now
   * @throws ConfigurationError where the file cannot be read
   */
  constructor(path: string, onChanged: (password: string) => void) {
    this.#path = path;
    this.#onChanged = onChanged;
    try {
      this.#current = readSecretFile(path);
    } catch (error) {
      throw new ConfigurationError([
        `${variableOf(PASSWORD_FILE)}=${path}: cannot be read (${errorMessage(error)})`,
      ]);
    }
  }

  get current(): string {
    return this.#current;
  }

  /** A broker has refused the password: looks for another one until there is one. */
  refused(): void {
    // librdkafka reports a login that fails again and again only now and then.
    if (this.#look()) return;
    this.#timer ??= setInterval(() => this.#look(), LOOK_AGAIN_MS);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** @returns true where the file has another password */
  #look(): boolean {
    let found: string;
    try {
      found = readSecretFile(this.#path);
    } catch {
      // Its writer may be about to put another file in its place.
      return false;
    }
    if (found === this.#current) return false;
    this.#current = found;
    this.close();
    this.#onChanged(found);
    return true;
  }
}
