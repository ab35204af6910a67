// Checks that the links and paths of the documents lead to files and headings that exist.
import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { VARIABLES } from "../shared/config/config.ts";
import { METRIC_NAMES } from "../shared/telemetry/metrics.ts";

const ROOT = resolve(import.meta.dir, "..");
const PLACES = ["*.md", "{bench,monitoring,shared,sql,test,workers}/**/*.md"];
const DOCUMENTS = PLACES.flatMap((pattern) => [...new Bun.Glob(pattern).scanSync({ cwd: ROOT })]);

const text = (document: string): string => readFileSync(join(ROOT, document), "utf8");

/** Without code blocks, whose content is no Markdown. */
const prose = (document: string): string => text(document).replaceAll(/^```[^]*?^```/gm, "");

/** The anchors of a document's headings, as GitHub and Forgejo make them. */
function anchors(document: string): string[] {
  return [...prose(document).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\- _]/gu, "")
      .replaceAll(" ", "-"),
  );
}

/** Why a link of a document leads nowhere; undefined: it leads somewhere. */
function fault(document: string, link: string): string | undefined {
  if (/^https?:/.test(link)) return undefined;
  const [path = "", anchor] = link.split("#");
  const target = path === "" ? document : relative(ROOT, resolve(ROOT, dirname(document), path));
  if (!existsSync(join(ROOT, target))) return `${document}: ${link} does not exist`;
  if (anchor === undefined || !target.endsWith(".md") || anchors(target).includes(anchor)) return undefined;
  return `${document}: ${link} names no heading`;
}

/** The texts of a file, or of all sources below a directory. */
function sources(path: string): string[] {
  if (!statSync(join(ROOT, path)).isDirectory()) return [text(path)];
  return [...new Bun.Glob("**/*.{ts,tsx}").scanSync({ cwd: join(ROOT, path) })].map((file) =>
    text(join(path, file)),
  );
}

describe("documents", () => {
  test("include the README and the runbook", () => {
    expect(DOCUMENTS).toContain("README.md");
    expect(DOCUMENTS).toContain("monitoring/RUNBOOK.md");
  });

  test("have no link that leads nowhere", () => {
    const faults = DOCUMENTS.flatMap((document) =>
      [...prose(document).matchAll(/\]\(([^)\s]+)\)/g)].flatMap(
        ([, link = ""]) => fault(document, link) ?? [],
      ),
    );
    expect(faults).toEqual([]);
  });

  test("link each row of the failure table to what proves it", () => {
    const table = /^## What happens if.*?^## /ms.exec(text("README.md"))?.[0] ?? "";
    const rows = table.split("\n").filter((line) => line.startsWith("| ") && !/^\| (…|---) /.test(line));
    expect(rows.length).toBeGreaterThan(10);
    const PROOF = /\]\(test\/[^)]*(\.test\.ts|\/faults\/[^)]*\.ts)\)/;
    expect(rows.filter((row) => !PROOF.test(row))).toEqual([]);
  });

  test("name no file of the repository that does not exist", () => {
    const PATH = /(?<![\w/.-])(?:workers|shared|test|sql|bench|monitoring)\/[\w./-]*\w(?![\w*…])/g;
    const missing = DOCUMENTS.flatMap((document) =>
      [...text(document).matchAll(PATH)]
        .map(([path]) => path)
        .filter((path) => !existsSync(join(ROOT, path)) && !existsSync(join(ROOT, dirname(document), path)))
        .map((path) => `${document}: ${path}`),
    );
    expect(missing).toEqual([]);
  });

  test("name every metric and every setting in the README", () => {
    const readme = text("README.md");
    const missing = [...METRIC_NAMES, ...Object.keys(VARIABLES)].filter(
      (name) => !readme.includes(`\`${name}`),
    );
    expect(missing).toEqual([]);
  });

  test("name in the file map only what its files define", () => {
    const rows = text("shared/README.md").matchAll(/^\| (.*\]\(.*) \| .* \| (.*`.*) \|$/gm);
    const missing = [...rows].flatMap(([, where = "", names = ""]) => {
      const linked = [...where.matchAll(/\]\(([^)]+)\)/g)].flatMap(([, link = ""]) =>
        sources(join("shared", link)),
      );
      return [...names.matchAll(/`(\w+)`/g)]
        .map(([, name = ""]) => name)
        .filter((name) => !linked.some((source) => new RegExp(`\\b${name}\\b`).test(source)))
        .map((name) => `${where}: ${name}`);
    });
    expect(missing).toEqual([]);
  });
});
