// Copies this repository with a fault planted in it, so that a test can show what the fault does.
import { cp, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Edit, MUTANTS, type MutantName } from "./mutants.ts";

const ROOT = resolve(import.meta.dir, "../..");
const COPIED = ["workers", "shared", "sql", "test", "package.json", "bun.lock", "tsconfig.json"];

/** A folder with the programs and tests, with the fault in the programs. Disposing removes it. */
export async function mutatedCopy(name: MutantName): Promise<{ readonly root: string } & AsyncDisposable> {
  const root = await mkdtemp(join(tmpdir(), "event-pipeline-mutant-"));
  for (const copied of COPIED) await cp(join(ROOT, copied), join(root, copied), { recursive: true });
  await symlink(join(ROOT, "node_modules"), join(root, "node_modules"));
  for (const edit of MUTANTS[name]) {
    const file = join(root, edit.file);
    await Bun.write(file, mutated(await Bun.file(file).text(), edit));
  }
  return { root, [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }) };
}

/** @throws Error where the source does not say the text of the edit exactly once */
export function mutated(source: string, { file, text, replacement }: Edit): string {
  const [before, after, ...more] = source.split(text);
  if (after === undefined || more.length > 0) {
    throw new Error(`${file} says ${more.length + (after === undefined ? 0 : 1)} times, not once: ${text}`);
  }
  return `${before}${replacement}${after}`;
}
