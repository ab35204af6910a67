// Copies this repository without the fence, so that a test can show what the fence prevents.
import { cp, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dir, "../..");

/** The places that lock and compare offsets, and their replacements without the fence. */
const WITHOUT_FENCE = [
  ["if (nextOffset !== span.from) {", "if (nextOffset === undefined) {"],
  ["and o.next_offset = b.from_offset`", "`"],
  ["    for update of o\n", ""],
  ["    for update of o skip locked\n", ""],
] as const;

/** A folder with workers/consumer.ts whose transactions lock and compare no offsets. Disposing removes it. */
export async function withoutFence(): Promise<{ readonly root: string } & AsyncDisposable> {
  const root = await mkdtemp(join(tmpdir(), "event-pipeline-unfenced-"));
  for (const name of ["workers", "shared", "sql", "package.json", "bun.lock", "tsconfig.json"]) {
    await cp(join(ROOT, name), join(root, name), { recursive: true });
  }
  await symlink(join(ROOT, "node_modules"), join(root, "node_modules"));
  const file = join(root, "shared/store/offsets.ts");
  let text = await Bun.file(file).text();
  for (const [fenced, unfenced] of WITHOUT_FENCE) {
    if (!text.includes(fenced)) throw new Error(`shared/store/offsets.ts no longer says: ${fenced}`);
    text = text.replace(fenced, unfenced);
  }
  await Bun.write(file, text);
  return { root, [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }) };
}
