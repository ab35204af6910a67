// Reads compose.yaml, workers/Dockerfile, .dockerignore and prometheus.yml into one value, which a test can change.
import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { YAML } from "bun";

export const ROOT = resolve(import.meta.dir, "../..");

export interface Service {
  image?: string;
  build?: { context: string; dockerfile: string; target: string };
  profiles?: string[];
  restart?: string;
  stop_grace_period?: string;
  mem_limit?: string;
  pids_limit?: number;
  init?: boolean;
  security_opt?: string[];
  logging?: { driver: string; options: Record<string, string> };
  ports?: string[];
  /** null: taken from the shell or from .env. */
  environment?: Record<string, string | null>;
  volumes?: string[];
  command?: string[];
  extra_hosts?: string[];
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test: string[] };
}

/** One FROM of the Dockerfile, with its own instructions. */
export interface Stage {
  name: string;
  from: string;
  instructions: { name: string; text: string }[];
}

export interface Stack {
  services: Record<string, Service>;
  volumes: Record<string, null>;
  stages: Stage[];
  /** The files of the build: the exceptions of .dockerignore, which ignores everything else. */
  buildContext: string[];
  /** host:port of every target of Prometheus. */
  scraped: string[];
  /** Files of the repository, and the directories above them. */
  paths: Set<string>;
}

/**
 * Reads the stack of this repository. A file of another shape causes faults, or an exception here.
 * @param environment the variables of .env; without one, its default is taken
 */
export async function readStack(environment: Readonly<Record<string, string>> = {}): Promise<Stack> {
  const text = (await read("compose.yaml")).replaceAll(
    /\$\{(\w+):-([^}]*)\}/g,
    (_, name: string, byDefault: string) => environment[name] ?? byDefault,
  );
  const compose = YAML.parse(text) as Pick<Stack, "services" | "volumes">;
  return {
    services: compose.services,
    volumes: compose.volumes,
    stages: stages(await read("workers/Dockerfile")),
    buildContext: exceptions(await read(".dockerignore")),
    scraped: targets(YAML.parse(await read("monitoring/prometheus/prometheus.yml"))),
    paths: new Set(["compose.yaml", ...pathsBelow("monitoring"), ...pathsBelow("workers"), ...topLevel()]),
  };
}

function read(path: string): Promise<string> {
  return Bun.file(join(ROOT, path)).text();
}

function topLevel(): string[] {
  return readdirSync(ROOT);
}

function pathsBelow(directory: string): string[] {
  const below = readdirSync(join(ROOT, directory), { recursive: true, encoding: "utf8" });
  return [directory, ...below.map((path) => join(directory, path))];
}

function stages(dockerfile: string): Stage[] {
  const found: Stage[] = [];
  const lines = dockerfile.replaceAll(/^#.*\n/gm, "").replaceAll(/\\\n\s*/g, "");
  for (const [, name = "", text = ""] of lines.matchAll(/^([A-Z]+) (.*)$/gm)) {
    const [, from = "", as = ""] = name === "FROM" ? (/^(\S+) AS (\S+)$/.exec(text) ?? []) : [];
    if (name === "FROM") found.push({ name: as, from, instructions: [] });
    else found.at(-1)!.instructions.push({ name, text });
  }
  return found;
}

function exceptions(dockerignore: string): string[] {
  const lines = dockerignore.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  if (lines[0] !== "*") throw new Error(".dockerignore has to start by ignoring everything (*)");
  return lines.slice(1).map((line) => line.replace("!", ""));
}

interface ScrapeConfig {
  static_configs?: { targets: string[] }[];
  dns_sd_configs?: { names: string[]; port: number }[];
}

function targets(prometheus: unknown): string[] {
  const { scrape_configs } = prometheus as { scrape_configs: ScrapeConfig[] };
  return scrape_configs.flatMap(({ static_configs = [], dns_sd_configs = [] }) => [
    ...static_configs.flatMap((each) => each.targets),
    ...dns_sd_configs.flatMap(({ names, port }) => names.map((name) => `${name}:${port}`)),
  ]);
}
