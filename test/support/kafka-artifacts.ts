// Fetches the jars of Apache Kafka with Maven and caches them.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { cacheDirectory, cachedDirectory } from "../../shared/runtime/cache.ts";
import { copyJars } from "./maven.ts";

export const KAFKA_VERSION = "4.3.1";
const LOG4J_VERSION = "2.25.4";
const JARS = `kafka-${KAFKA_VERSION}`;
const MINIMUM_JAVA_VERSION = 17;

export interface KafkaArtifacts {
  /** The class path of the broker and its command-line tools. */
  readonly classPath: string;
  readonly log4jConfiguration: string;
  /** Names this Java and this Kafka, for what is cached about the two together. */
  readonly key: string;
}

let missing: { reason: string | undefined } | undefined;

/** Why no broker can be started here, in words; undefined where one can. */
export function whyNoKafka(): string | undefined {
  missing ??= { reason: findWhatIsMissing() };
  return missing.reason;
}

function findWhatIsMissing(): string | undefined {
  if (Bun.which("java") === null) return "there is no `java` on the PATH";
  const java = javaVersion();
  const major = Number(/"(\d+)/.exec(java)?.[1]);
  if (!(major >= MINIMUM_JAVA_VERSION)) {
    return `Kafka ${KAFKA_VERSION} needs Java ${MINIMUM_JAVA_VERSION}, and this is ${java || "no working Java"}`;
  }
  if (Bun.which("mvn") === null && !existsSync(join(cacheDirectory(), JARS))) {
    return "there is no `mvn` on the PATH to fetch Kafka with";
  }
  return undefined;
}

/** `openjdk version "17.0.15" 2025-04-15` */
function javaVersion(): string {
  return Bun.spawnSync(["java", "-version"]).stderr.toString().split("\n")[0] ?? "";
}

/**
 * Fetches the jars, once per user.
 * @param say takes a line before each step that takes long
 * @throws Error when Maven cannot fetch them
 */
export async function kafkaArtifacts(say: (line: string) => void): Promise<KafkaArtifacts> {
  const jars = await cachedDirectory(JARS, (directory) => {
    say(`fetching Apache Kafka ${KAFKA_VERSION} with Maven (once)`);
    return fetchJars(directory);
  });
  return {
    classPath: join(jars, "libs", "*"),
    log4jConfiguration: join(jars, "log4j2.xml"),
    key: `${JARS}-${Bun.hash(javaVersion() + Bun.which("java")).toString(36)}`,
  };
}

async function fetchJars(directory: string): Promise<void> {
  await Bun.write(join(directory, "log4j2.xml"), LOG4J);
  await copyJars(join(directory, "libs"), [
    { artifact: `org.apache.kafka:kafka_2.13:${KAFKA_VERSION}` },
    { artifact: `org.apache.kafka:kafka-tools:${KAFKA_VERSION}` },
    { artifact: `org.apache.logging.log4j:log4j-slf4j-impl:${LOG4J_VERSION}` },
  ]);
}

// Without a configuration a broker logs nothing, not even why it failed.
const LOG4J = `<Configuration status="warn">
  <Appenders>
    <Console name="out" target="SYSTEM_ERR"><PatternLayout pattern="%d{HH:mm:ss.SSS} %p %c{1} %m%n"/></Console>
  </Appenders>
  <Loggers>
    <Root level="\${sys:logLevel:-info}"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
`;
