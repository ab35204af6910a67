// Starts a Kafka broker once and caches its loaded classes and a formatted checkpoint, which speed up later starts.
import { copyFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { cachedDirectory } from "../../shared/runtime/cache.ts";
import { freePorts } from "../../shared/runtime/free-port.ts";
import type { KafkaArtifacts } from "./kafka-artifacts.ts";
import { KafkaBroker, randomUuid } from "./kafka-broker.ts";

export interface QuickStart {
  /** Flags with which the JVM finds the broker's classes already read; it passes over a file that does not fit. */
  readonly jvmFlags: string[];
  /** The file that formatting leaves in a data directory besides meta.properties; the same for every broker. */
  readonly bootstrapCheckpoint: string;
}

/** Formats a data directory and runs a broker on it once, where that has not been done before. */
export async function kafkaQuickStart(
  artifacts: KafkaArtifacts,
  say: (line: string) => void,
): Promise<QuickStart> {
  const directory = await cachedDirectory(`${artifacts.key}-start`, (empty) => {
    say("starting a Kafka broker once, to cache what speeds up later starts");
    return record(artifacts, empty);
  });
  return {
    jvmFlags: [`-XX:SharedArchiveFile=${join(directory, "broker.jsa")}`, "-Xlog:disable", "-Xlog:all=off"],
    bootstrapCheckpoint: join(directory, "bootstrap.checkpoint"),
  };
}

async function record(artifacts: KafkaArtifacts, directory: string): Promise<void> {
  const [client, controller] = await freePorts(2);
  const scratch = join(directory, "scratch");
  const broker = new KafkaBroker(artifacts, {
    nodeId: 1,
    clusterId: randomUuid(),
    directory: scratch,
    properties: {
      "process.roles": "broker,controller",
      "node.id": "1",
      "controller.quorum.voters": `1@127.0.0.1:${controller}`,
      listeners: `PLAINTEXT://127.0.0.1:${client},CONTROLLER://127.0.0.1:${controller}`,
      "controller.listener.names": "CONTROLLER",
      "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
      "log.cleaner.dedupe.buffer.size": "2097152",
    },
  });
  await broker.formatWithTool();
  await copyFile(join(scratch, "data-1", "bootstrap.checkpoint"), join(directory, "bootstrap.checkpoint"));
  await broker.start(`-XX:ArchiveClassesAtExit=${join(directory, "broker.jsa")}`);
  await broker.untilStarted();
  // The JVM writes its archive at an orderly end only.
  await broker.kill("SIGTERM");
  await rm(scratch, { recursive: true, force: true });
}
