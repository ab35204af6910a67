import { expect, test } from "bun:test";
import { resolve } from "node:path";
import { YAML } from "bun";
import { loadConfig } from "../shared/runtime/config.ts";

interface Service {
  readonly image: string;
  readonly ports?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly volumes?: readonly string[];
  readonly command?: readonly string[];
}

const ROOT = resolve(import.meta.dir, "..");
const compose = await readYaml<{ services: Record<string, Service>; volumes: Record<string, null> }>(
  "compose.yaml",
);
const config = loadConfig({}, "consumer");

const published = (service: Service) => (service.ports ?? []).map((port) => port.split(":").at(-2)!);

async function readYaml<T>(path: string): Promise<T> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a file of another shape fails the tests below
  return YAML.parse(await Bun.file(`${ROOT}/${path}`).text()) as T;
}

test("the programs' defaults lead to the containers", () => {
  const { kafka1, kafka2, kafka3, postgres, prometheus } = compose.services;
  const brokers = [kafka1, kafka2, kafka3].map((broker) => {
    const outside = /OUTSIDE:\/\/(localhost:\d+)/.exec(
      broker!.environment!["KAFKA_ADVERTISED_LISTENERS"]!,
    )![1]!;
    expect(published(broker!)).toEqual([outside.split(":")[1]!]);
    return outside;
  });
  expect(brokers.join(",")).toBe(config.kafka.bootstrapServers);
  expect(published(postgres!)).toEqual([String(config.database.port)]);
  expect(postgres!.environment).toMatchObject({
    POSTGRES_DB: config.database.name,
    POSTGRES_USER: config.database.user,
    POSTGRES_PASSWORD: config.database.password,
  });
  expect(`http://localhost:${published(prometheus!)[0]}`).toBe(config.monitoring.prometheusUrl);
});

test("the topic is made as the programs would make it", () => {
  const words = compose.services["kafka-topic"]!.command!.at(-1)!.split(/\s+/);
  const after = (flag: string) => words[words.indexOf(flag) + 1];
  expect(after("--topic")).toBe(config.kafka.topics.join());
  expect(after("--partitions")).toBe(String(config.kafka.partitions));
  expect(after("--replication-factor")).toBe("3");
});

test("every image is pinned, every port stays on this machine, every named volume is declared", () => {
  for (const [name, { image, ports = [], volumes = [] }] of Object.entries(compose.services)) {
    expect({ name, image }).toEqual({ name, image: expect.stringMatching(/:v?\d+\.\d+(?:\.\d+)?$/) });
    expect({ name, open: ports.filter((port) => !port.startsWith("127.0.0.1:")) }).toEqual({
      name,
      open: [],
    });
    const named = volumes.map((volume) => volume.split(":")[0]!).filter((source) => !source.startsWith("."));
    expect({ name, undeclared: named.filter((volume) => !(volume in compose.volumes)) }).toEqual({
      name,
      undeclared: [],
    });
  }
});

test("Prometheus scrapes the ports that the programs listen on", async () => {
  const prometheus = await readYaml<{
    scrape_configs: { job_name: string; static_configs: { targets: string[] }[] }[];
  }>("monitoring/prometheus/prometheus.yml");
  const targets = Object.fromEntries(
    prometheus.scrape_configs.map(({ job_name, static_configs }) => [job_name, static_configs[0]!.targets]),
  );
  expect(targets).toMatchObject({
    producer: [`host.docker.internal:${config.monitoring.producerPort}`],
    consumer: [`host.docker.internal:${config.monitoring.consumerPort}`],
  });
});
