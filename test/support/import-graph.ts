// Reads the imports of source files, and finds cycles and imports against the allowed direction.
import { dirname, join, relative } from "node:path";

/** Repository paths by importing file; a package keeps its name. */
export type ImportGraph = ReadonlyMap<string, readonly string[]>;

// workers -> { kafka, store, http, console, telemetry, alerts, producer } -> { config, runtime, pipeline, text } -> event.ts
const GROUND = ["shared/event.ts", "shared/api-schema.ts"];
const FOUNDATION = ["shared/config", "shared/runtime", "shared/pipeline", "shared/text", ...GROUND];
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  workers: [
    "shared/kafka",
    "shared/store",
    "shared/http",
    "shared/console",
    "shared/telemetry",
    "shared/alerts",
    "shared/producer",
    ...FOUNDATION,
  ],
  "shared/kafka": FOUNDATION,
  "shared/store": FOUNDATION,
  "shared/http": FOUNDATION,
  "shared/console": ["shared/http", ...FOUNDATION],
  "shared/telemetry": FOUNDATION,
  "shared/alerts": ["shared/telemetry", ...FOUNDATION],
  "shared/producer": FOUNDATION,
  "shared/config": ["shared/runtime", "shared/text", ...GROUND],
  "shared/runtime": ["shared/text", ...GROUND],
  "shared/text": [],
  "shared/pipeline": GROUND,
  "shared/event.ts": [],
  "shared/api-schema.ts": ["shared/event.ts"],
};

const IMPORT = /^\s*(?:import|export)\b[^;"'`]*?["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']\s*\)/gm;

/** @param sources by path in the repository */
export function importGraph(sources: ReadonlyMap<string, string>): ImportGraph {
  const graph = new Map<string, string[]>();
  for (const [path, source] of sources) graph.set(path, importsOf(path, source));
  return graph;
}

function importsOf(path: string, source: string): string[] {
  return source
    .matchAll(IMPORT)
    .map((match) => (match[1] ?? match[2])!)
    .map((target) => (target.startsWith(".") ? relative("", join(dirname(path), target)) : target))
    .toArray();
}

/** @returns one line for each import that runs against the direction, and for each of product code that imports a test */
export function wrongImports(graph: ImportGraph): string[] {
  return [...graph].flatMap(([path, targets]) => {
    const own = areaOf(path);
    const allowed = MAY_IMPORT[own];
    if (allowed === undefined) return [`${path} is in no folder that the rule knows`];
    return targets
      .filter((target) => /^(?:workers|shared|test|bench)\//.test(target))
      .filter((target) => areaOf(target) !== own && !allowed.includes(areaOf(target)))
      .map((target) => `${path} imports ${target}`);
  });
}

/** `shared/kafka/consumer.ts` -> `shared/kafka`; `workers/consumer.ts` -> `workers` */
function areaOf(path: string): string {
  const [top, second] = path.split("/");
  return top === "shared" ? `shared/${second}` : top!;
}

/** @returns each cycle once, as `a -> b -> a` */
export function cycles(graph: ImportGraph): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    const start = trail.indexOf(path);
    if (start >= 0) found.push([...trail.slice(start), path].join(" -> "));
    if (start >= 0 || done.has(path)) return;
    for (const target of graph.get(path) ?? []) visit(target, [...trail, path]);
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
  return found;
}
