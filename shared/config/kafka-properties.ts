// Translates KAFKA_CONFIG_* variables to librdkafka properties and back, and refuses those that exactly-once delivery
// depends on.
import { readSecret, readText } from "./environment.ts";
import type { SectionSource } from "./section.ts";

const PREFIX = "KAFKA_CONFIG_";

/** Stands among the properties, and is none of librdkafka's: the command that prints the tokens of a client. */
export const OAUTH_TOKEN_COMMAND = "oauth.token.command";

/** Properties that have a variable of their own. */
const OWN_VARIABLES: Readonly<Record<string, string>> = {
  "bootstrap.servers": "KAFKA_BOOTSTRAP_SERVERS",
  "group.id": "KAFKA_CONSUMER_GROUP",
};

/** Properties that KAFKA_CONFIG_* cannot set, and why. */
export const REFUSED_PROPERTIES: Readonly<Record<string, string>> = {
  "enable.auto.commit": "offsets are stored in PostgreSQL, in the transaction of their effects",
  "auto.commit.enable": "offsets are stored in PostgreSQL, in the transaction of their effects",
  "enable.auto.offset.store": "offsets are stored in PostgreSQL, in the transaction of their effects",
  "auto.offset.reset": "a lost offset must be noticed and never replaced by a guess",
  "isolation.level": "records of aborted transactions must not be counted",
  "enable.idempotence": "without it a retry of the producer would double records",
  acks: "an acknowledged record must survive the loss of a broker",
  "request.required.acks": "an acknowledged record must survive the loss of a broker",
  "transactional.id": "the producer uses no transactions, and none would ever be committed",
  "delivery.report.only.error": "acknowledged records could not be counted",
  "check.crcs": "librdkafka skips a batch that fails the check, and its records would be lost",
  "partition.assignment.strategy": "the consumer works with cooperative rebalances only",
  "group.id": "set KAFKA_CONSUMER_GROUP instead",
  "bootstrap.servers": "set KAFKA_BOOTSTRAP_SERVERS instead",
  "metadata.broker.list": "set KAFKA_BOOTSTRAP_SERVERS instead",
};

/** True for a property whose value must not be shown. Paths to key files (`….location`, `….file`) may be. */
export function isSecretProperty(property: string): boolean {
  return (
    property === OAUTH_TOKEN_COMMAND ||
    /(^|\.)(password|secret|passphrase|pem|token)$|^sasl\.(oauthbearer\.config|jaas)/.test(property)
  );
}

/** The environment variable that sets a librdkafka property: ssl.ca.location is KAFKA_CONFIG_SSL_CA_LOCATION. */
export function variableOf(property: string): string {
  return OWN_VARIABLES[property] ?? PREFIX + property.toUpperCase().replaceAll(".", "_");
}

/**
 * The librdkafka properties that the environment sets. For a secret (sasl.password, ssl.key.pem, ...) the name may
 * end in _FILE and give a file. librdkafka itself checks whether a property exists and its value is right.
 */
export function kafkaProperties({ environment, problems }: SectionSource): Record<string, string> {
  const properties: Record<string, string> = {};
  for (const name of Object.keys(environment).toSorted()) {
    if (!name.startsWith(PREFIX) || readText(environment, name) === "") continue;
    const variable = secretOfFile(name) ?? name;
    const property = propertyOf(variable);
    if (property === "") continue;
    const reason = REFUSED_PROPERTIES[property];
    if (reason !== undefined) {
      problems.push(`${name}: ${property} cannot be changed (${reason})`);
    } else if (isSecretProperty(property)) {
      const secret = readSecret(environment, variable, problems);
      // librdkafka can take another password later, so the clients read the file themselves.
      if (variable !== name && property === "sasl.password")
        properties[`${property}.file`] = readText(environment, name);
      else if (secret) properties[property] = secret;
    } else {
      properties[property] = readText(environment, name);
    }
  }
  return properties;
}

function propertyOf(variable: string): string {
  return variable.slice(PREFIX.length).toLowerCase().replaceAll("_", ".");
}

/** The variable whose secret is in the file that `name` gives; `..._ASSERTION_FILE` is a plain property. */
function secretOfFile(name: string): string | undefined {
  if (!name.endsWith("_FILE")) return undefined;
  const variable = name.slice(0, -"_FILE".length);
  return isSecretProperty(propertyOf(variable)) ? variable : undefined;
}
