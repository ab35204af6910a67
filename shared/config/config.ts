// Reads and checks the whole configuration from environment variables, and reports every problem at once.
import { availableParallelism } from "node:os";
import { type Static, Type } from "typebox";
import { ConfigurationError } from "../runtime/errors.ts";
import {
  CONSUMER_SECTION,
  type ConsumerConfig,
  readConsumerConfig,
  surprisingRetention,
} from "./consumer-config.ts";
import {
  DATABASE_SECTION,
  type DatabaseConfig,
  readDatabaseConfig,
  unverifiedServer,
} from "./database-config.ts";
import type { Environment } from "./environment.ts";
import { KAFKA_SECTION, type KafkaConfig, readKafkaConfig } from "./kafka-config.ts";
import { isSecretProperty } from "./kafka-properties.ts";
import { MONITORING_SECTION, type MonitoringConfig, readMonitoringConfig } from "./monitoring-config.ts";
import { PRODUCER_SECTION, type ProducerConfig, readProducerConfig } from "./producer-config.ts";
import { describeSection, readSection, REDACTED, variablesOf, withoutCredentials } from "./section.ts";
import { withoutServiceLinks } from "./service-links.ts";
import { boolean, choice } from "./setting.ts";
import { unknownVariables } from "./unknown-variables.ts";

export type { ConsumerConfig, DatabaseConfig, KafkaConfig, MonitoringConfig, ProducerConfig };

const GENERAL_SECTION = Type.Object({
  logLevel: choice("LOG_LEVEL", ["debug", "info", "warn", "error"], "info"),
  /** Used before the configuration is read (runtime/ensure-packages.ts); here it is only checked. */
  autoSetup: boolean("AUTO_SETUP", true),
});

export type LogLevel = Static<typeof GENERAL_SECTION.properties.logLevel>;

const SECTIONS = {
  kafka: KAFKA_SECTION,
  database: DATABASE_SECTION,
  producer: PRODUCER_SECTION,
  consumer: CONSUMER_SECTION,
  monitoring: MONITORING_SECTION,
} as const;
type SectionName = keyof typeof SECTIONS;

/** Every environment variable of the programs with its default as text ("" = none), KAFKA_CONFIG_* aside. */
export const VARIABLES: Readonly<Record<string, string>> = Object.assign(
  {},
  ...[...Object.values(SECTIONS), GENERAL_SECTION].map((section) => variablesOf(section)),
);

export interface Config {
  readonly kafka: KafkaConfig;
  readonly database: DatabaseConfig;
  readonly producer: ProducerConfig;
  readonly consumer: ConsumerConfig;
  readonly monitoring: MonitoringConfig;
  readonly logLevel: LogLevel;
  /** One sentence for each variable that is probably misspelled, or not safe; for the log. */
  readonly warnings: readonly string[];
}

/** The sections that each program uses; the secrets of the other sections are left unread. */
const USED_SECTIONS = {
  producer: ["kafka", "producer", "monitoring"],
  consumer: ["kafka", "database", "consumer", "monitoring"],
  check: ["kafka", "database"],
  doctor: ["kafka", "database", "producer", "consumer", "monitoring"],
} as const satisfies Record<string, readonly SectionName[]>;

/** The program that reads the configuration. */
export type ProgramRole = keyof typeof USED_SECTIONS;

/**
 * @param processors how many workers can run at once on this machine
 * @throws ConfigurationError with every problem: the variable, its value and what is allowed
 */
export function loadConfig(
  surroundings: Environment,
  role: ProgramRole,
  processors = availableParallelism(),
): Config {
  const environment = withoutServiceLinks(surroundings);
  const problems: string[] = [];
  const source = (section: SectionName) => ({ environment, problems, readSecrets: isUsed(section, role) });
  const database = readDatabaseConfig(source("database"));
  const consumer = readConsumerConfig(source("consumer"), database, processors);
  const config: Config = {
    kafka: readKafkaConfig(source("kafka")),
    database,
    producer: readProducerConfig(source("producer")),
    consumer,
    monitoring: readMonitoringConfig(source("monitoring")),
    logLevel: readSection(GENERAL_SECTION, { environment, problems, readSecrets: true }).logLevel,
    warnings: [
      ...unknownVariables(environment, Object.keys(VARIABLES)),
      ...(isUsed("database", role) ? unverifiedServer(database) : []),
      ...(isUsed("consumer", role) ? surprisingRetention(consumer) : []),
    ],
  };
  if (problems.length > 0) throw new ConfigurationError([...new Set(problems)]);
  return config;
}

/** One flat object for the start-up log line, with what the program uses; secrets are redacted. */
export function describeConfig(config: Config, role: ProgramRole): Record<string, string | number | boolean> {
  const { passThrough, ...kafka } = config.kafka;
  const values = { ...config, kafka };
  const flat: Record<string, string | number | boolean> = {};
  for (const section of USED_SECTIONS[role]) {
    const described = describeSection(SECTIONS[section], { ...values[section] });
    for (const [name, value] of Object.entries(described)) flat[`${section}.${name}`] = value;
  }
  for (const [property, value] of Object.entries(passThrough)) {
    flat[property] = isSecretProperty(property) ? REDACTED : withoutCredentials(value);
  }
  flat["logLevel"] = config.logLevel;
  return flat;
}

function isUsed(section: SectionName, role: ProgramRole): boolean {
  return USED_SECTIONS[role].some((used) => used === section);
}
