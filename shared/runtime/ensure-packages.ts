// Preloaded by bunfig.toml before anything else: bun.lock in, an up-to-date node_modules out, so that every
// command works on a fresh clone. It imports nothing but what Bun itself brings.
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

/** How long a lock may stand before its holder counts as dead, however slow the network is. */
const STALE_LOCK_MS = 10 * 60_000;
const LOCK_POLL_MS = 100;

/** What `ensurePackages` needs from outside; a test gives its own. */
export interface PackageSetup {
  /** The folder of package.json and bun.lock. */
  readonly root: string;
  /** Runs the installation; true when it succeeded. */
  readonly install: (root: string) => { success: boolean; output: string };
  readonly say: (line: string) => void;
}

/**
 * Installs the packages of bun.lock once: a stamp in node_modules holds the hash of the bun.lock it was
 * installed from. Two processes that start at once install once, one after the other looks again.
 * @returns what was done; `kept` = the installation failed, and the packages that were there stay in use
 * @throws Error when the packages are missing and cannot be installed
 */
export function ensurePackages({ root, install, say }: PackageSetup): "present" | "installed" | "kept" {
  const modules = join(root, "node_modules");
  const wanted = lockfileHash(root);
  if (stampOf(modules) === wanted) return "present";

  return withLock(modules, say, () => {
    // Another process may have installed while this one waited for the lock.
    if (stampOf(modules) === wanted) return "present";
    const hadPackages = holdsPackages(modules);
    say(hadPackages ? "checking the installed packages (once)" : "installing packages (once)");
    const { success, output } = install(root);
    if (success) {
      tryWrite(join(modules, ".installed-from"), wanted);
      return "installed";
    }
    // Packages that someone put there (an image, an offline machine) may well be the right ones.
    if (hadPackages) {
      say(`could not compare node_modules with bun.lock; going on with what is there. ${lastLine(output)}`);
      return "kept";
    }
    throw new Error(`bun install failed, so there are no packages to run with:\n${output.trim()}`);
  });
}

function lockfileHash(root: string): string {
  return Bun.hash(readFileSync(join(root, "bun.lock"))).toString(16);
}

function stampOf(modules: string): string | undefined {
  try {
    return readFileSync(join(modules, ".installed-from"), "utf8");
  } catch {
    return undefined;
  }
}

function holdsPackages(modules: string): boolean {
  try {
    return readdirSync(modules).some((name) => !name.startsWith("."));
  } catch {
    return false;
  }
}

/** Runs `work` while this process holds the lock directory; `mkdir` is atomic on every file system. */
function withLock<T>(modules: string, say: (line: string) => void, work: () => T): T {
  const lock = join(modules, ".install-lock");
  try {
    mkdirSync(modules, { recursive: true });
  } catch {
    return work(); // a read-only image: nobody else can be writing either
  }
  for (let tries = 0; !tryTake(lock); tries++) {
    if (tries === 10) say(`waiting for another process that installs (it holds ${lock})`);
    Bun.sleepSync(LOCK_POLL_MS);
  }
  try {
    return work();
  } finally {
    rmSync(lock, { recursive: true, force: true });
  }
}

function tryTake(lock: string): boolean {
  try {
    mkdirSync(lock);
    tryWrite(join(lock, "pid"), String(process.pid));
    return true;
  } catch (error) {
    const code = codeOf(error);
    if (code === "EACCES" || code === "EROFS" || code === "EPERM") return true;
    if (code !== "EEXIST") throw error;
  }
  if (holderIsGone(lock)) rmSync(lock, { recursive: true, force: true });
  return false;
}

function holderIsGone(lock: string): boolean {
  const made = statSync(lock, { throwIfNoEntry: false })?.mtimeMs;
  if (made === undefined) return false;
  if (Date.now() - made > STALE_LOCK_MS) return true;
  try {
    process.kill(Number(readFileSync(join(lock, "pid"), "utf8") || "NaN"), 0);
    return false;
  } catch (error) {
    return codeOf(error) === "ESRCH";
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}

function tryWrite(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch {
    // Not writable: the next start looks again.
  }
}

function lastLine(output: string): string {
  return output.trim().split("\n").at(-1) ?? "";
}

/**
 * Runs this program again and ends with its exit code. Bun looked for node_modules before there was one: this process
 * would take its packages from Bun's own cache, and its threads would not find any.
 */
async function startAnew(): Promise<never> {
  const again = Bun.spawn([process.execPath, ...process.execArgv, ...process.argv.slice(1)], {
    stdio: ["inherit", "inherit", "inherit"],
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => again.kill(signal));
  process.exit(await again.exited);
}

// Worker threads share the packages of the process that started them.
if (Bun.isMainThread) {
  try {
    const done = ensurePackages({
      root: resolve(import.meta.dir, "../.."),
      install(root) {
        const run = Bun.spawnSync([process.execPath, "install", "--frozen-lockfile"], {
          cwd: root,
          stdin: "ignore",
        });
        return { success: run.success, output: `${run.stdout.toString()}${run.stderr.toString()}` };
      },
      say: (line) => process.stderr.write(`packages: ${line}\n`),
    });
    // Not under `bun test`, whose files are not run by their names alone.
    if (done === "installed" && process.argv[1] === Bun.main && !Bun.main.endsWith(".test.ts"))
      await startAnew();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  }
}
