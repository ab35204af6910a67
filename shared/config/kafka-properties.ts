// KAFKA_CONFIG_* variables in, librdkafka properties out; those that the promise rests on are refused.
import type { Environment, EnvironmentReader } from "./environment.ts";

const PREFIX = "KAFKA_CONFIG_";

/** Properties that no one may pass through, and why. */
export const REFUSED_PROPERTIES: Readonly<Record<string, string>> = {
  "enable.auto.commit": "offsets are stored in Postgres, in the transaction of their effects",
  "auto.commit.enable": "offsets are stored in Postgres, in the transaction of their effects",
  "enable.auto.offset.store": "offsets are stored in Postgres, in the transaction of their effects",
  "auto.offset.reset": "a lost offset must be noticed, never replaced by a guess",
  "isolation.level": "records of aborted transactions must not be counted",
  "enable.idempotence": "without it a retry of the producer would double records",
  acks: "an acknowledged record must survive the loss of a broker",
  "request.required.acks": "an acknowledged record must survive the loss of a broker",
  "transactional.id": "the producer uses no transactions, and none would ever be committed",
  "delivery.report.only.error": "what was acknowledged could not be counted",
  "check.crcs": "librdkafka passes over a batch that fails the check, and its records would be lost",
  "group.id": "set KAFKA_CONSUMER_GROUP instead",
  "bootstrap.servers": "set KAFKA_BOOTSTRAP_SERVERS instead",
  "metadata.broker.list": "set KAFKA_BOOTSTRAP_SERVERS instead",
};

/** True for a property whose value must not be shown. Paths to key files (`….location`, `….file`) may be. */
export function isSecretProperty(property: string): boolean {
  return /(^|\.)(password|secret|passphrase|pem|token)$|^sasl\.(oauthbearer\.config|jaas)/.test(property);
}

/**
 * The librdkafka properties that the environment passes through: KAFKA_CONFIG_SSL_CA_LOCATION is
 * ssl.ca.location. For a secret (sasl.password, ssl.key.pem, ...) the name may end in _FILE and give a file.
 * Whether a property exists and its value is right is librdkafka's to say.
 * @param readFiles false leaves the files of secrets unread
 */
export function passThroughProperties(
  environment: Environment,
  reader: EnvironmentReader<string>,
  readFiles: boolean,
): Record<string, string> {
  const properties: Record<string, string> = {};
  for (const name of Object.keys(environment).toSorted()) {
    if (!name.startsWith(PREFIX) || !reader.isSet(name)) continue;
    const fileOf = secretOfFile(name);
    const variable = fileOf ?? name;
    const property = propertyName(variable);
    if (property === "") continue;
    const reason = REFUSED_PROPERTIES[property];
    if (reason !== undefined) {
      reader.problems.push(`${name}: ${property} cannot be changed (${reason})`);
    } else if (isSecretProperty(property)) {
      if (!readFiles && fileOf !== undefined) continue;
      const secret = reader.secret(variable, "");
      if (secret !== "") properties[property] = secret;
    } else {
      properties[property] = (environment[name] ?? "").trim();
    }
  }
  return properties;
}

function propertyName(variable: string): string {
  return variable.slice(PREFIX.length).toLowerCase().replaceAll("_", ".");
}

/** The variable whose secret this one's file holds. `…_LOCATION` and `…_ASSERTION_FILE` are plain properties. */
function secretOfFile(name: string): string | undefined {
  if (!name.endsWith("_FILE")) return undefined;
  const variable = name.slice(0, -"_FILE".length);
  return isSecretProperty(propertyName(variable)) ? variable : undefined;
}
