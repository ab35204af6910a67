import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { type ImportGraph, cycles, importGraph, wrongImports } from "./support/import-graph.ts";

const ROOT = resolve(import.meta.dir, "..");

const TOP_LEVEL = [
  "LICENSE",
  "README.md",
  "bench",
  "bun.lock",
  "bunfig.toml",
  "compose.yaml",
  "config.example.env",
  "monitoring",
  "package.json",
  "shared",
  "sql",
  "test",
  "tsconfig.json",
  "workers",
];

function sources(pattern: string): Map<string, string> {
  return new Map(
    [...new Bun.Glob(pattern).scanSync({ cwd: ROOT })].map((path) => [
      path,
      readFileSync(join(ROOT, path), "utf8"),
    ]),
  );
}

const program = sources("{workers,shared}/**/*.{ts,tsx}");
const graph = importGraph(program);

describe("the repository", () => {
  test("has exactly the listed top level", () => {
    // Dotfiles belong to tools; node_modules is not part of the repository.
    const there = readdirSync(ROOT).filter((name) => !name.startsWith(".") && name !== "node_modules");
    expect(there.filter((name) => !name.endsWith(".log")).toSorted()).toEqual(TOP_LEVEL);
  });

  test("has imports in one direction only", () => {
    expect(graph.size).toBeGreaterThan(0);
    expect(wrongImports(graph)).toEqual([]);
  });

  test("has no import cycles", () => {
    expect(cycles(graph)).toEqual([]);
  });

  test("has a pipeline without clock, environment, network and Bun API", () => {
    const impure = [...program]
      .filter(([path]) => path.startsWith("shared/pipeline/"))
      .flatMap(([path, source]) => {
        const imports = (graph.get(path) ?? []).filter((target) => /^(?:node|bun)(?::|$)/.test(target));
        const allowed = imports.filter((target) => target !== "node:buffer");
        // performance.now is allowed: it measures how long a stage took, and nothing depends on it.
        const calls = source.match(/\b(?:Date\.now|new Date\(\)|process\.|Bun\.|fetch\()/g) ?? [];
        return [...allowed, ...calls].map((what) => `${path} uses ${what}`);
      });
    expect(impure).toEqual([]);
  });

  test("touches native memory only in shared/kafka/ffi", () => {
    expect([...graph.values()].flat()).toContain("bun:ffi");
    expect(outsideOfFfi(graph)).toEqual([]);
  });

  test("opens each file with a comment, and names no file utils, helpers or types", () => {
    const headless = [...program]
      .filter(([, text]) => !/^(?:#!.*\n)?\/\/ \S/.test(text))
      .map(([path]) => path);
    const bags = [...program.keys()].filter((path) =>
      /^(?:utils?|helpers?|types?|common|misc)\.tsx?$/.test(basename(path)),
    );
    expect({ headless, bags }).toEqual({ headless: [], bags: [] });
  });
});

/** Files that import bun:ffi and may not. */
function outsideOfFfi(imports: ImportGraph): string[] {
  return [...imports]
    .filter(([path, targets]) => targets.includes("bun:ffi") && !path.startsWith("shared/kafka/ffi/"))
    .map(([path]) => path);
}

function graphOf(files: Record<string, string>): ImportGraph {
  return importGraph(new Map(Object.entries(files)));
}

describe("the import checks", () => {
  test("find an import against the direction in each form of import", () => {
    const wrong = graphOf({
      "shared/kafka/a.ts": 'import { b } from "../store/b.ts";\nimport type { E } from "../event.ts";',
      "shared/store/b.ts": 'export {\n  a,\n} from "../kafka/a.ts";',
      "shared/pipeline/c.ts": 'const c = await import("../runtime/c.ts");',
      "shared/runtime/d.ts": 'import "../../workers/d.ts";',
      "shared/event.ts": 'import type { F } from "./pipeline/f.ts";',
      "workers/g.ts": 'import { h } from "../test/support/h.ts";',
      "elsewhere/i.ts": "",
    });
    expect(wrongImports(wrong)).toEqual([
      "shared/kafka/a.ts imports shared/store/b.ts",
      "shared/store/b.ts imports shared/kafka/a.ts",
      "shared/pipeline/c.ts imports shared/runtime/c.ts",
      "shared/runtime/d.ts imports workers/d.ts",
      "shared/event.ts imports shared/pipeline/f.ts",
      "workers/g.ts imports test/support/h.ts",
      "elsewhere/i.ts is in no folder that the rule knows",
    ]);
  });

  test("find nothing wrong in allowed imports", () => {
    const allowed = graphOf({
      "workers/a.ts": 'import { b } from "../shared/kafka/b.ts";\nimport { x } from "./x.ts";',
      "shared/kafka/b.ts": 'import { c } from "../runtime/c.ts";\nimport { ptr } from "bun:ffi";',
      "shared/runtime/c.ts": 'import type { E } from "../event.ts";',
    });
    expect(wrongImports(allowed)).toEqual([]);
    expect(allowed.get("shared/kafka/b.ts")).toEqual(["shared/runtime/c.ts", "bun:ffi"]);
  });

  test("find an import of bun:ffi outside of shared/kafka/ffi", () => {
    const wrong = graphOf({
      "shared/kafka/ffi/a.ts": 'import { ptr } from "bun:ffi";',
      "shared/kafka/b.ts": 'import { dlopen } from "bun:ffi";',
      "workers/c.ts": 'const ffi = await import("bun:ffi");',
    });
    expect(outsideOfFfi(wrong)).toEqual(["shared/kafka/b.ts", "workers/c.ts"]);
  });

  test("find a cycle, also behind a file that is in none", () => {
    const circular = graphOf({
      "workers/a.ts": 'import "./b.ts";',
      "workers/b.ts": 'import "./c.ts";',
      "workers/c.ts": 'import type { B } from "./b.ts";',
      "workers/d.ts": 'import "./d.ts";',
    });
    expect(cycles(circular)).toEqual([
      "workers/b.ts -> workers/c.ts -> workers/b.ts",
      "workers/d.ts -> workers/d.ts",
    ]);
  });
});
