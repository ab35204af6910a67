// Describes and reads the configuration of the Kafka clients, the topics and the consumer group.
import { Type } from "typebox";
import { kafkaProperties, OAUTH_TOKEN_COMMAND } from "./kafka-properties.ts";
import { readSection, type SectionSource, type SectionValues } from "./section.ts";
import { command, integer, text } from "./setting.ts";

export const KAFKA_SECTION = Type.Object({
  bootstrapServers: Type.Array(Type.Refine(Type.String(), isHostAndPort), {
    variable: "KAFKA_BOOTSTRAP_SERVERS",
    default: ["localhost:9091", "localhost:9092", "localhost:9093"],
    minItems: 1,
    allowed: "host:port, several separated by commas",
  }),
  topics: Type.Array(Type.String({ pattern: /^(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}$/ }), {
    variable: "KAFKA_TOPIC",
    default: ["user-events"],
    minItems: 1,
    uniqueItems: true,
    allowed: "different topics separated by commas, each 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-'",
  }),
  partitions: integer("KAFKA_TOPIC_PARTITIONS", [1, 100_000], 6),
  /** Undefined: 3 where there are three brokers, else 1. */
  replicationFactor: Type.Optional(integer("KAFKA_TOPIC_REPLICATION_FACTOR", [1, 100])),
  consumerGroup: text(
    "KAFKA_CONSUMER_GROUP",
    "data-pipeline-consumer",
    /^[\x21-\x7e]{1,200}$/,
    "1 to 200 printable characters without spaces",
  ),
  /** Prints a token for SASL OAUTHBEARER; run whenever a client needs a new one. */
  oauthTokenCommand: command("KAFKA_OAUTH_TOKEN_COMMAND"),
});

type KafkaValues = SectionValues<typeof KAFKA_SECTION.properties>;

export interface KafkaConfig extends Omit<KafkaValues, "bootstrapServers" | "oauthTokenCommand"> {
  /** Addresses separated by commas. */
  readonly bootstrapServers: string;
  /** Further librdkafka properties by their own names ("ssl.ca.location"), and OAUTH_TOKEN_COMMAND. */
  readonly passThrough: Readonly<Record<string, string>>;
}

export function readKafkaConfig(source: SectionSource): KafkaConfig {
  const { oauthTokenCommand, bootstrapServers, ...values } = readSection(KAFKA_SECTION, source);
  const properties = kafkaProperties(source);
  if (oauthTokenCommand !== undefined) addOauthProblems(properties, source.problems);
  const login = oauthTokenCommand === undefined ? {} : { [OAUTH_TOKEN_COMMAND]: oauthTokenCommand };
  return { ...values, bootstrapServers: bootstrapServers.join(), passThrough: { ...properties, ...login } };
}

/** A command that would not be used is a mistake. */
function addOauthProblems(properties: Readonly<Record<string, string>>, problems: string[]): void {
  const mechanism = properties["sasl.mechanisms"] ?? properties["sasl.mechanism"] ?? "";
  if (mechanism.toUpperCase() !== "OAUTHBEARER") {
    problems.push("KAFKA_OAUTH_TOKEN_COMMAND is set: set KAFKA_CONFIG_SASL_MECHANISMS=OAUTHBEARER as well");
  }
  if (properties["sasl.oauthbearer.method"]?.toLowerCase() === "oidc") {
    problems.push(
      "KAFKA_OAUTH_TOKEN_COMMAND and KAFKA_CONFIG_SASL_OAUTHBEARER_METHOD=oidc are both set: leave one of them out",
    );
  }
}

function isHostAndPort(address: string): boolean {
  const port = /^(?:\[[0-9a-fA-F:.%]+\]|[^\s:/[\]]+):(\d{1,5})$/.exec(address)?.[1];
  return port !== undefined && Number(port) >= 1 && Number(port) <= 65_535;
}
