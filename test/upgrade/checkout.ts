// Takes the programs of an earlier commit out of the history of this repository.
import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { removeOnExit } from "../../shared/runtime/child-reaper.ts";
import { RELEASES } from "./releases.ts";

const ROOT = resolve(import.meta.dir, "../..");
const NEEDED = ["workers", "shared", "sql", "package.json", "bun.lock", "tsconfig.json"];

/** Why the commits of RELEASES cannot be taken from here, in words; undefined where they can. */
export function whyNoHistory(): string | undefined {
  if (Bun.which("git") === null) return "there is no `git` on the PATH";
  const repository = git("rev-parse", "--git-dir");
  if (repository.exitCode !== 0) return repository.stderr.toString().trim();
  const missing = RELEASES.find(({ commit }) => git("cat-file", "-e", `${commit}^{commit}`).exitCode !== 0);
  if (missing === undefined) return undefined;
  return `commit ${missing.commit.slice(0, 7)} is not here: get the whole history with "git fetch --unshallow"`;
}

/**
 * A folder with the programs of a commit. They use the packages of this checkout if they need the same, and otherwise
 * install theirs when they start. Disposing removes the folder.
 * @throws Error where the commit is missing
 */
export async function checkedOut(commit: string): Promise<{ readonly root: string } & AsyncDisposable> {
  const root = await mkdtemp(join(tmpdir(), "event-pipeline-release-"));
  const reaper = removeOnExit(root);
  const archive = git("archive", "--format=tar", commit, ...NEEDED);
  if (archive.exitCode !== 0) throw new Error(`git archive ${commit}: ${archive.stderr.toString().trim()}`);
  const unpacked = Bun.spawnSync(["tar", "-x", "-C", root], { stdin: archive.stdout });
  if (unpacked.exitCode !== 0) throw new Error(`tar: ${unpacked.stderr.toString().trim()}`);
  const [theirs, ours] = await Promise.all(
    [root, ROOT].map((folder) => Bun.file(join(folder, "bun.lock")).text()),
  );
  if (theirs === ours) await symlink(join(ROOT, "node_modules"), join(root, "node_modules"));
  return {
    root,
    async [Symbol.asyncDispose]() {
      await rm(root, { recursive: true, force: true });
      reaper.release();
    },
  };
}

function git(...args: readonly string[]) {
  return Bun.spawnSync(["git", "-C", ROOT, ...args]);
}
