// Finds where the stack contradicts itself, the code or the configuration: one sentence for each fault.
import { normalize } from "node:path";
import { loadConfig, VARIABLES } from "../../shared/config/config.ts";
import { errorMessage } from "../../shared/runtime/errors.ts";
import { FLUSH_DEADLINE_MS } from "../../workers/producer/run.ts";
import { DRAIN_DEADLINE_MS } from "../../workers/consumer/supervisor.ts";
import { KAFKA_VERSION } from "../support/kafka-artifacts.ts";
import type { Service, Stack, Stage } from "./stack.ts";

const PINNED = /:v?\d+\.\d+(?:\.\d+)?(?:-slim)?$/;
const BROKERS = ["kafka1", "kafka2", "kafka3"] as const;
const PROGRAMS = ["producer", "consumer"] as const;
/** What a container may not take from .env: values that the compose file fixes, and paths of the host. */
const FIXED =
  /^(?:KAFKA_(?:TOPIC.*|CONSUMER_GROUP|OAUTH_TOKEN_COMMAND)|DB_(?:PORT|NAME|USER|PASSWORD(?:_COMMAND)?|SSL(?:ROOTCERT|CERT|KEY))|METRICS_PORT_\w+|AUTO_SETUP|PRODUCER_INPUT|\w+_FILE)$/;
/** The longest time that each program takes to end. */
const ENDING_MS = { producer: FLUSH_DEADLINE_MS, consumer: DRAIN_DEADLINE_MS };
const defaults = loadConfig({}, "consumer");
const DEFAULT_PORT = {
  producer: defaults.monitoring.producerPort,
  consumer: defaults.monitoring.consumerPort,
};

/** @returns an empty list where nothing is wrong */
export function stackFaults(stack: Stack): string[] {
  const checks = [
    images,
    publishedPorts,
    brokers,
    topic,
    database,
    monitoring,
    programs,
    mounts,
    healthChecks,
    order,
  ];
  return [...checks, limits, dockerfile].flatMap((check) => [...check(stack)]);
}

type Faults = Iterable<string>;

const entries = (stack: Stack): [string, Service][] => Object.entries(stack.services);
const service = (stack: Stack, name: string): Service => stack.services[name] ?? {};
const setting = (stack: Stack, name: string, variable: string): string =>
  service(stack, name).environment?.[variable] ?? "";
const isJob = ({ restart }: Service): boolean => restart === "no";

function* differs(what: string, found: unknown, wanted: unknown): Faults {
  if (String(found) !== String(wanted)) yield `${what} is ${String(found)}, and not ${String(wanted)}`;
}

function* images(stack: Stack): Faults {
  for (const [name, { image, build }] of entries(stack)) {
    if (image === undefined && build === undefined) yield `${name} has neither an image nor a build`;
    if (image !== undefined && !PINNED.test(image)) yield `${name}: ${image} is not pinned`;
  }
  // The tests use this version.
  for (const name of [...BROKERS, "kafka-topic"]) {
    yield* differs(`the image of ${name}`, service(stack, name).image, `apache/kafka:${KAFKA_VERSION}`);
  }
}

/** [host, port on this machine, port in the container] of each. */
function published({ ports = [] }: Service): string[][] {
  return ports.map((port) => port.split(":"));
}

function* publishedPorts(stack: Stack): Faults {
  const taken = new Map<string, string>();
  for (const [name, each] of entries(stack)) {
    for (const [address = "", port = ""] of published(each)) {
      if (address !== "127.0.0.1") yield `${name} is published beyond this machine: ${address}:${port}`;
      if (taken.has(port)) yield `${name} and ${taken.get(port)} are both published on ${port}`;
      taken.set(port, name);
    }
  }
  const wanted = { postgres: defaults.database.port, grafana: 3000, "kafka-ui": 8080, ...DEFAULT_PORT };
  for (const [name, port] of Object.entries(wanted)) {
    yield* differs(`the published port of ${name}`, published(service(stack, name))[0]?.[1], port);
  }
  const prometheus = `http://localhost:${published(service(stack, "prometheus"))[0]?.[1]}`;
  yield* differs("the published address of prometheus", prometheus, defaults.monitoring.prometheusUrl);
}

/** `INSIDE://:29092,OUTSIDE://:9091` as { INSIDE: ":29092", ... }. */
function listeners(text: string): Record<string, string> {
  return Object.fromEntries(text.split(",").map((each) => each.split("://")));
}

const inside = (stack: Stack): string =>
  BROKERS.map((name) => listeners(setting(stack, name, "KAFKA_ADVERTISED_LISTENERS"))["INSIDE"]).join();

function* brokers(stack: Stack): Faults {
  const outside: string[] = [];
  for (const [index, name] of BROKERS.entries()) {
    const listening = listeners(setting(stack, name, "KAFKA_LISTENERS"));
    const advertised = listeners(setting(stack, name, "KAFKA_ADVERTISED_LISTENERS"));
    const [, port, target] = published(service(stack, name))[0] ?? [];
    outside.push(advertised["OUTSIDE"] ?? "");
    yield* differs(`the node id of ${name}`, setting(stack, name, "KAFKA_NODE_ID"), index + 1);
    yield* differs(`INSIDE of ${name}`, advertised["INSIDE"], `${name}${listening["INSIDE"]}`);
    yield* differs(`OUTSIDE of ${name}`, advertised["OUTSIDE"], `localhost${listening["OUTSIDE"]}`);
    yield* differs(`the port that ${name} is published on`, port, listening["OUTSIDE"]?.slice(1));
    yield* differs(`the port of ${name} that is published`, target, listening["OUTSIDE"]?.slice(1));
    const voters = BROKERS.map((voter, id) => {
      const controller = listeners(setting(stack, voter, "KAFKA_LISTENERS"))["CONTROLLER"];
      return `${id + 1}@${voter}${controller}`;
    });
    yield* differs(`the voters of ${name}`, setting(stack, name, "KAFKA_CONTROLLER_QUORUM_VOTERS"), voters);
    for (const variable of Object.keys(service(stack, name).environment ?? {})) {
      const replicas = variable.endsWith("REPLICATION_FACTOR");
      if (!replicas && !/MIN_(?:ISR|INSYNC_REPLICAS)$/.test(variable)) continue;
      yield* differs(`${variable} of ${name}`, setting(stack, name, variable), replicas ? 3 : 2);
    }
  }
  yield* differs("the address of the brokers on the host", outside, defaults.kafka.bootstrapServers);
  const ui = setting(stack, "kafka-ui", "KAFKA_CLUSTERS_0_BOOTSTRAPSERVERS");
  yield* differs("the brokers of kafka-ui", ui, inside(stack));
}

function* topic(stack: Stack): Faults {
  const { kafka } = defaults;
  const words = (service(stack, "kafka-topic").command ?? []).join(" ").split(/[\s;]+/);
  const after = (flag: string): string | undefined => words[words.indexOf(flag) + 1];
  yield* differs("the brokers of kafka-topic", after("--bootstrap-server"), inside(stack));
  yield* differs("the topic", after("--topic"), kafka.topics.join());
  yield* differs("its partitions", after("--partitions"), kafka.partitions);
  yield* differs("its replication factor", after("--replication-factor"), BROKERS.length);
  const minimum = setting(stack, "kafka1", "KAFKA_MIN_INSYNC_REPLICAS");
  yield* differs("its configuration", after("--config"), `min.insync.replicas=${minimum}`);
}

function* database(stack: Stack): Faults {
  const { name, user, password, port } = defaults.database;
  const wanted = { POSTGRES_DB: name, POSTGRES_USER: "", DB_PASSWORD: password };
  for (const [variable, value] of Object.entries(wanted)) {
    yield* differs(`${variable} of postgres`, setting(stack, "postgres", variable), value);
  }
  yield* differs("DB_PASSWORD of consumer", setting(stack, "consumer", "DB_PASSWORD"), password);
  const reader = setting(stack, "grafana", "GRAFANA_DB_PASSWORD");
  yield* differs("GRAFANA_DB_PASSWORD", setting(stack, "postgres", "GRAFANA_DB_PASSWORD"), reader);
  if (reader === password) yield "grafana has the password of the tables' owner";
  const scripts = service(stack, "postgres").volumes?.[1];
  yield* differs("the scripts of postgres", scripts, "./monitoring/postgres:/docker-entrypoint-initdb.d:ro");
  const check = service(stack, "postgres").healthcheck?.test.slice(1).join(" ");
  yield* differs("the health check", check, `pg_isready -h localhost -p ${port} -U ${user} -d ${name}`);
  const volume = service(stack, "postgres").volumes?.[0]?.split(":")[1];
  // Of 18 and later; below it a volume at the old place (/var/lib/postgresql/data) would stay empty.
  yield* differs("the place of the data of postgres", volume, "/var/lib/postgresql");
}

function* monitoring(stack: Stack): Faults {
  for (const name of PROGRAMS) {
    const target = `host.docker.internal:${DEFAULT_PORT[name]}`;
    if (!stack.scraped.includes(target)) yield `prometheus does not scrape ${target}`;
  }
  for (const target of stack.scraped) {
    const [host = "", port = ""] = target.split(":");
    if (host === "host.docker.internal") continue;
    const name = host === "localhost" ? "prometheus" : host;
    if (!listensOn(stack, name).includes(port)) yield `prometheus scrapes ${target}, where nothing listens`;
  }
  const gateway = service(stack, "prometheus").extra_hosts?.join();
  yield* differs("the host as prometheus knows it", gateway, "host.docker.internal:host-gateway");
}

function* programs(stack: Stack): Faults {
  const given = new Set<string>();
  for (const name of PROGRAMS) {
    const environment = service(stack, name).environment ?? {};
    for (const variable of Object.keys(environment)) {
      given.add(variable);
      if (!(variable in VARIABLES)) yield `${name}: there is no variable ${variable}`;
      else if (FIXED.test(variable) && variable !== "DB_PASSWORD")
        yield `${name}: ${variable} may not be set in a container`;
    }
    const values = Object.fromEntries(Object.entries(environment).map(([key, value]) => [key, value ?? ""]));
    try {
      const { kafka, monitoring: own } = loadConfig(values, name);
      yield* differs(`the brokers of ${name}`, kafka.bootstrapServers, inside(stack));
      yield* differs(`HTTP_HOST of ${name}`, own.httpHost, "0.0.0.0");
      yield* differs(`PROMETHEUS_URL of ${name}`, own.prometheusUrl, "http://prometheus:9090");
    } catch (error) {
      yield `${name}: ${errorMessage(error)}`;
    }
    yield* differs(`the target of ${name}`, service(stack, name).build?.target, name);
    const target = published(service(stack, name))[0]?.[2];
    yield* differs(`the port of ${name} that is published`, target, DEFAULT_PORT[name]);
  }
  yield* differs("DB_HOST of consumer", setting(stack, "consumer", "DB_HOST"), "postgres");
  // Else each start warns of a server that is not verified, within the network of the stack itself.
  yield* differs("DB_SSLMODE of consumer", setting(stack, "consumer", "DB_SSLMODE"), "disable");
  for (const variable of Object.keys(VARIABLES).filter((each) => !FIXED.test(each) && !given.has(each))) {
    yield `${variable} is a setting, and reaches neither producer nor consumer`;
  }
}

function* mounts(stack: Stack): Faults {
  const used = new Set<string>();
  const places = new Map<string, string>();
  for (const [name, { volumes = [] }] of entries(stack)) {
    for (const [source = "", target = ""] of volumes.map((volume) => volume.split(":"))) {
      const path = normalize(source);
      if (source.startsWith(".")) {
        places.set(`${name}:${target}`, path);
        if (!stack.paths.has(path)) yield `${name} mounts ${source}, which does not exist`;
      } else if (!(source in stack.volumes)) yield `${name}: volume ${source} is not declared`;
      used.add(source);
    }
  }
  for (const volume of Object.keys(stack.volumes)) {
    if (!used.has(volume)) yield `volume ${volume} is not used`;
  }
  const home = setting(stack, "grafana", "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH");
  const directory = home.slice(0, home.lastIndexOf("/"));
  const file = `${places.get(`grafana:${directory}`)}${home.slice(directory.length)}`;
  if (!stack.paths.has(file)) yield `grafana starts with ${home}, which does not exist`;
}

const stageOf = (stack: Stack, { build }: Service): Stage | undefined =>
  stack.stages.find(({ name }) => name === build?.target);
const instructions = (stage: Stage | undefined, wanted: string): string[] =>
  (stage?.instructions ?? []).flatMap(({ name, text }) => (name === wanted ? [text] : []));

/** The command of the compose file, or of the image that is built here. */
function healthCheck(stack: Stack, each: Service): string {
  return each.healthcheck?.test.join(" ") ?? instructions(stageOf(stack, each), "HEALTHCHECK").join();
}

function listensOn(stack: Stack, name: string): string[] {
  const each = service(stack, name);
  const own = Object.values(listeners(each.environment?.["KAFKA_LISTENERS"] ?? ""));
  const exposed = instructions(stageOf(stack, each), "EXPOSE");
  return [...published(each).map((port) => port.at(-1)!), ...own.map((at) => at?.slice(1)), ...exposed];
}

function* healthChecks(stack: Stack): Faults {
  for (const [name, each] of entries(stack)) {
    const check = healthCheck(stack, each);
    if (check === "" && !isJob(each)) yield `${name} has no health check`;
    const asked = [...check.matchAll(/(?:localhost|127\.0\.0\.1)[:/](\d+)/g)].map(([, port = ""]) => port);
    const open = listensOn(stack, name);
    for (const port of asked.filter((wanted) => !open.includes(wanted))) {
      yield `the health check of ${name} asks port ${port}, but ${name} listens on ${open.join(", ")}`;
    }
  }
}

function* order(stack: Stack): Faults {
  for (const [name, each] of entries(stack)) {
    for (const [wanted, { condition }] of Object.entries(each.depends_on ?? {})) {
      const other = stack.services[wanted];
      if (other === undefined) {
        yield `${name} waits for ${wanted}, which does not exist`;
        continue;
      }
      const fits = isJob(other)
        ? condition === "service_completed_successfully"
        : condition === "service_healthy" && healthCheck(stack, other) !== "";
      if (!fits) yield `${name} waits for ${wanted} by ${condition}`;
      if (other.profiles?.some((profile) => !each.profiles?.includes(profile))) {
        yield `${name} waits for ${wanted}, which belongs to a profile`;
      }
    }
  }
}

function* limits(stack: Stack): Faults {
  for (const [name, each] of entries(stack)) {
    if (!/^\d+[mg]$/.test(each.mem_limit ?? "")) yield `${name} has no memory limit`;
    if (each.pids_limit === undefined) yield `${name} has no limit of processes`;
    if (each.logging?.options["max-size"] === undefined) yield `the log of ${name} can fill the disk`;
    // The web server of pgadmin needs a right that its file gives.
    const mayGainRights = !each.security_opt?.includes("no-new-privileges:true");
    if (mayGainRights && name !== "pgadmin") yield `${name} may gain rights`;
    if (!isJob(each)) yield* differs(`restart of ${name}`, each.restart, "unless-stopped");
  }
  for (const name of PROGRAMS) {
    yield* differs(`init of ${name}`, service(stack, name).init, true);
    const [, value = "", unit] = /^(\d+)([sm])$/.exec(service(stack, name).stop_grace_period ?? "") ?? [];
    const graceMs = Number(value) * (unit === "m" ? 60_000 : 1000);
    if (graceMs <= ENDING_MS[name]) {
      yield `${name} is killed after ${graceMs} ms, and may take ${ENDING_MS[name]} ms to end`;
    }
  }
}

/** The stage and those that it is built on, outermost first. */
function ancestry(stack: Stack, stage: Stage): Stage[] {
  const parent = stack.stages.find(({ name }) => name === stage.from);
  return parent === undefined ? [stage] : [stage, ...ancestry(stack, parent)];
}

function* dockerfile(stack: Stack): Faults {
  for (const stage of stack.stages) {
    const isInner = stack.stages.some(({ name }) => name === stage.from);
    if (!isInner && !PINNED.test(stage.from)) yield `the image ${stage.from} is not pinned`;
    for (const copy of instructions(stage, "COPY").filter((text) => !text.startsWith("--from="))) {
      for (const source of copy.split(" ").slice(0, -1)) {
        const included = stack.buildContext.some((path) => source === path || source.startsWith(`${path}/`));
        if (!included) yield `the Dockerfile copies ${source}, which .dockerignore leaves out`;
      }
    }
  }
  for (const path of stack.buildContext) {
    if (!stack.paths.has(path)) yield `.dockerignore includes ${path}, which does not exist`;
  }
  for (const name of PROGRAMS) {
    const { build } = service(stack, name);
    if (!stack.paths.has(build?.dockerfile ?? "")) yield `${name}: there is no ${build?.dockerfile}`;
    const stage = stageOf(stack, service(stack, name));
    if (stage === undefined) {
      yield `${name}: the Dockerfile has no stage ${build?.target}`;
      continue;
    }
    const layers = ancestry(stack, stage);
    const user = layers.flatMap((layer) => instructions(layer, "USER"))[0] ?? "root";
    if (/^(?:root|0)/.test(user)) yield `the image of ${name} runs as root`;
    const variables = layers.flatMap((layer) => instructions(layer, "ENV"));
    if (!variables.includes("AUTO_SETUP=false")) yield `the image of ${name} installs packages at its start`;
    const installs = layers.flatMap((layer) => instructions(layer, "RUN")).join();
    if (/\b(?:gcc|make)\b/.test(installs)) yield `the image of ${name} holds a compiler`;
    yield* differs(`EXPOSE of ${name}`, instructions(stage, "EXPOSE"), DEFAULT_PORT[name]);
    const command = instructions(stage, "CMD").join();
    const script = /"([\w/]+\.ts)"/.exec(command)?.[1] ?? command;
    if (!stack.paths.has(script)) yield `the image of ${name} runs ${script}, which does not exist`;
    yield* differs(`the program of the image of ${name}`, script, `workers/${name}.ts`);
  }
}
