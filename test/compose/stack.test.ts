// Checks that the stack is consistent, and that each fault that an edit could introduce is found.
import { describe, expect, test } from "bun:test";
import { stackFaults } from "./faults.ts";
import { readStack, type Service, type Stack, type Stage } from "./stack.ts";

const stack = await readStack();

const change = (name: string, wanted: Service) => (given: Stack) =>
  Object.assign(given.services[name]!, wanted);
const set = (name: string, variable: string, value: string | null) => (given: Stack) => {
  given.services[name]!.environment![variable] = value;
};
const stage = (given: Stack, wanted: string): Stage => given.stages.find(({ name }) => name === wanted)!;
const replaceIn = (wanted: string, instruction: string, from: string, to: string) => (given: Stack) => {
  for (const each of stage(given, wanted).instructions) {
    if (each.name === instruction) each.text = each.text.replace(from, to);
  }
};

/** Faults, each with a part of the sentence that has to report it. */
const injected: [name: string, inject: (given: Stack) => unknown, found: string][] = [
  // Ports
  [
    "a changed port of PostgreSQL",
    change("postgres", { ports: ["127.0.0.1:5433:5432"] }),
    "published port of postgres is 5433",
  ],
  [
    "a changed port of a broker",
    change("kafka2", { ports: ["127.0.0.1:9094:9092"] }),
    "the port that kafka2 is published on is 9094",
  ],
  [
    "a changed port in a broker",
    change("kafka2", { ports: ["127.0.0.1:9092:9094"] }),
    "port of kafka2 that is published is 9094",
  ],
  [
    "a changed port of the consumer",
    change("consumer", { ports: ["127.0.0.1:8002:8003"] }),
    "port of consumer that is published is 8003",
  ],
  [
    "a changed port of Prometheus",
    change("prometheus", { ports: ["127.0.0.1:9091:9090"] }),
    "published address of prometheus",
  ],
  [
    "two services on one port",
    change("kafka-ui", { ports: ["127.0.0.1:3000:8080"] }),
    "kafka-ui and grafana are both published on 3000",
  ],
  [
    "a port open to the network",
    change("grafana", { ports: ["0.0.0.0:3000:3000"] }),
    "grafana is published beyond this machine",
  ],
  ["a changed EXPOSE", replaceIn("consumer", "EXPOSE", "8002", "8003"), "EXPOSE of consumer is 8003"],
  [
    "a scrape of another port",
    (given) => given.scraped.push("consumer:8003"),
    "scrapes consumer:8003, where nothing listens",
  ],
  [
    "no scrape of the host",
    (given) => (given.scraped = given.scraped.filter((target) => !target.endsWith("8001"))),
    "does not scrape host.docker.internal:8001",
  ],
  [
    "a health check of another port",
    change("grafana", { healthcheck: { test: ["CMD", "wget", "http://localhost:3001/"] } }),
    "health check of grafana asks port 3001",
  ],
  [
    "a health check of another port in the image",
    replaceIn("producer", "HEALTHCHECK", "8001", "8002"),
    "health check of producer asks port 8002",
  ],
  // Names and values
  [
    "a variable that does not exist",
    set("consumer", "CONSUMER_BATCHSIZE", "10"),
    "there is no variable CONSUMER_BATCHSIZE",
  ],
  ["a value that is refused", set("consumer", "CONSUMER_WORKERS", "none"), "CONSUMER_WORKERS=none"],
  [
    "a setting that does not reach a container",
    (given) => delete given.services["consumer"]!.environment!["SAVE_RAW_EVENTS"],
    "SAVE_RAW_EVENTS is a setting, and reaches neither",
  ],
  [
    "a port of the container from .env",
    set("consumer", "METRICS_PORT_CONSUMER", null),
    "METRICS_PORT_CONSUMER may not be set",
  ],
  ["another password", set("postgres", "DB_PASSWORD", "secret"), "DB_PASSWORD of postgres"],
  ["another password of the consumer", set("consumer", "DB_PASSWORD", null), "DB_PASSWORD of consumer"],
  ["another password of Grafana", set("grafana", "GRAFANA_DB_PASSWORD", "x"), "GRAFANA_DB_PASSWORD is"],
  [
    "a program that is the superuser of PostgreSQL",
    set("postgres", "POSTGRES_USER", "pipeline_user"),
    "POSTGRES_USER of postgres",
  ],
  [
    "no roles in PostgreSQL",
    (given) => given.services["postgres"]!.volumes!.pop(),
    "the scripts of postgres is undefined",
  ],
  [
    "brokers that the host cannot reach",
    set("kafka1", "KAFKA_ADVERTISED_LISTENERS", "INSIDE://kafka1:29092,OUTSIDE://kafka1:9091"),
    "OUTSIDE of kafka1 is kafka1:9091",
  ],
  [
    "brokers that containers cannot reach",
    set("kafka3", "KAFKA_ADVERTISED_LISTENERS", "INSIDE://localhost:29092,OUTSIDE://localhost:9093"),
    "INSIDE of kafka3 is localhost:29092",
  ],
  [
    "an app container that asks the host's brokers",
    set("producer", "KAFKA_BOOTSTRAP_SERVERS", "localhost:9091"),
    "the brokers of producer is localhost:9091",
  ],
  [
    "a page that only the container can reach",
    set("consumer", "HTTP_HOST", "127.0.0.1"),
    "HTTP_HOST of consumer is 127.0.0.1",
  ],
  [
    "a producer whose page asks its own container for alerts",
    set("producer", "PROMETHEUS_URL", "http://localhost:9090"),
    "PROMETHEUS_URL of producer is http://localhost:9090",
  ],
  [
    "a voter that does not exist",
    set("kafka2", "KAFKA_CONTROLLER_QUORUM_VOTERS", "1@kafka1:29093"),
    "voters of kafka2",
  ],
  [
    "internal topics with one replica",
    set("kafka1", "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR of kafka1 is 1",
  ],
  [
    "other partitions of the topic",
    (given) => {
      const job = given.services["kafka-topic"]!;
      job.command = job.command!.map((word) => word.replace("--partitions 6", "--partitions 3"));
    },
    "its partitions is 3",
  ],
  // Files and images
  [
    "a mounted file that does not exist",
    (given) => given.paths.delete("monitoring/prometheus"),
    "prometheus mounts ./monitoring/prometheus, which does not exist",
  ],
  [
    "a dashboard that does not exist",
    set("grafana", "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH", "/var/lib/grafana/dashboards/none.json"),
    "none.json, which does not exist",
  ],
  [
    "the data directory of images before PostgreSQL 18",
    change("postgres", { volumes: ["postgres:/var/lib/postgresql/data"] }),
    "the place of the data of postgres",
  ],
  [
    "a volume that is not declared",
    (given) => delete given.volumes["kafka2"],
    "volume kafka2 is not declared",
  ],
  [
    "an image without a version",
    change("grafana", { image: "grafana/grafana:latest" }),
    "grafana/grafana:latest is not pinned",
  ],
  [
    "another Kafka than the tests'",
    change("kafka1", { image: "apache/kafka:3.9.0" }),
    "image of kafka1 is apache/kafka:3.9.0",
  ],
  [
    "a base image without a version",
    (given) => (stage(given, "base").from = "oven/bun:slim"),
    "oven/bun:slim is not pinned",
  ],
  [
    "a copied file that does not exist",
    (given) => given.paths.delete("bun.lock"),
    ".dockerignore includes bun.lock, which does not exist",
  ],
  [
    "a copied file that is ignored",
    replaceIn("runtime", "COPY", "tsconfig.json", "config.example.env"),
    "copies config.example.env, which .dockerignore leaves out",
  ],
  [
    "a program that does not exist",
    replaceIn("producer", "CMD", "producer.ts", "produces.ts"),
    "runs workers/produces.ts, which does not exist",
  ],
  [
    "a stage that does not exist",
    (given) => (given.services["consumer"]!.build!.target = "consumers"),
    "the Dockerfile has no stage consumers",
  ],
  ["root", replaceIn("runtime", "USER", "bun", "root"), "the image of consumer runs as root"],
  [
    "an image that installs at its start",
    replaceIn("runtime", "ENV", "AUTO_SETUP=false", "AUTO_SETUP=true"),
    "the image of consumer installs packages at its start",
  ],
  [
    "a compiler in the image",
    (given) => (stage(given, "runtime").from = "build"),
    "the image of producer holds a compiler",
  ],
  // Start, end and limits
  [
    "no health check",
    (given) => delete given.services["kafka-ui"]!.healthcheck,
    "kafka-ui has no health check",
  ],
  [
    "waiting for a health check that does not exist",
    (given) => delete given.services["postgres"]!.healthcheck,
    "consumer waits for postgres by service_healthy",
  ],
  [
    "waiting for a job to be healthy",
    change("consumer", { depends_on: { "kafka-topic": { condition: "service_healthy" } } }),
    "consumer waits for kafka-topic by service_healthy",
  ],
  [
    "waiting for a service that does not exist",
    change("consumer", { depends_on: { kafka4: { condition: "service_healthy" } } }),
    "waits for kafka4, which does not exist",
  ],
  [
    "waiting for a service that may not be started",
    change("grafana", { depends_on: { consumer: { condition: "service_healthy" } } }),
    "waits for consumer, which belongs to a profile",
  ],
  [
    "a kill in the middle of a drain",
    change("consumer", { stop_grace_period: "40s" }),
    "consumer is killed after 40000 ms",
  ],
  ["no memory limit", (given) => delete given.services["kafka3"]!.mem_limit, "kafka3 has no memory limit"],
  ["no limit of processes", (given) => delete given.services["grafana"]!.pids_limit, "grafana has no limit"],
  [
    "a log without an end",
    (given) => delete given.services["kafka-ui"]!.logging,
    "the log of kafka-ui can fill the disk",
  ],
  ["a service that may gain rights", change("postgres", { security_opt: [] }), "postgres may gain rights"],
  ["no init process", change("consumer", { init: false }), "init of consumer is false"],
  ["no restart", change("producer", { restart: "always" }), "restart of producer is always"],
];

test("passwords of .env reach each place that has them", async () => {
  const { services } = await readStack({
    DB_PASSWORD: "one",
    GRAFANA_DB_PASSWORD: "two",
    GRAFANA_PASSWORD: "three",
  });
  const found = Object.entries(services).flatMap(([name, { environment = {} }]) =>
    Object.entries(environment).flatMap(([variable, value]) =>
      variable.includes("PASSWORD") ? [`${name} ${variable} ${value}`] : [],
    ),
  );
  expect(found.toSorted()).toEqual([
    "consumer DB_PASSWORD one",
    "grafana GF_SECURITY_ADMIN_PASSWORD three",
    "grafana GRAFANA_DB_PASSWORD two",
    "pgadmin PGADMIN_DEFAULT_PASSWORD admin",
    "postgres DB_PASSWORD one",
    "postgres GRAFANA_DB_PASSWORD two",
    "postgres POSTGRES_PASSWORD one",
  ]);
});

describe("stack", () => {
  test("agrees with itself, the code and the configuration", () => {
    expect(stackFaults(stack)).toEqual([]);
  });

  test.each(injected)("has a check that finds %s", (_, inject, found) => {
    const changed = structuredClone(stack);
    inject(changed);
    const present = stackFaults(stack);
    expect(
      stackFaults(changed)
        .filter((fault) => !present.includes(fault))
        .join("\n"),
    ).toContain(found);
  });
});
