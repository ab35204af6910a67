// Installs the packages of bun.lock where node_modules does not hold them. Imports only what Bun itself brings.
import { accessSync, constants, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { withFileLock } from "./cache.ts";

/** What `installPackages` needs from outside; a test gives its own. */
export interface PackageSetup {
  /** The folder of package.json and bun.lock. */
  readonly root: string;
  /** Runs the installation; true when it succeeded. */
  readonly install: (root: string) => { success: boolean; output: string };
  readonly say: (line: string) => void;
}

/** Whether a start may install packages and build librdkafka; AUTO_SETUP=false forbids both. */
export function isSetupAllowed(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): boolean {
  return !/^(false|0|no)$/i.test((environment["AUTO_SETUP"] ?? "").trim());
}

/**
 * Makes the packages available to the program that calls it. Call it before the first import of a package, which
 * then has to be a dynamic import: Bun resolves static imports before it runs anything.
 * After an installation it runs the program again and ends with its exit code, because Bun has already looked for
 * node_modules. Where packages are missing and cannot be installed it ends the process with 1 and a message.
 */
export async function ensurePackages(): Promise<void> {
  if (!isSetupAllowed()) return;
  try {
    const done = await installPackages({
      root: resolve(import.meta.dir, "../.."),
      install(root) {
        // Install scripts download binaries or build them; our own set-up does what is needed of that.
        const run = Bun.spawnSync([process.execPath, "install", "--frozen-lockfile", "--ignore-scripts"], {
          cwd: root,
          stdin: "ignore",
        });
        return { success: run.success, output: `${run.stdout.toString()}${run.stderr.toString()}` };
      },
      say: (line) => process.stderr.write(`packages: ${line}\n`),
    });
    if (done === "installed" && !import.meta.main) await runAgain();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  }
}

/**
 * Installs the packages of bun.lock once: a stamp in node_modules holds the hash of the bun.lock that was installed.
 * Of two processes that start at once, one installs and the other waits.
 * @returns what was done; `kept` = the installation failed, and the packages that were there stay in use
 * @throws Error when the packages are missing and cannot be installed
 */
export async function installPackages(setup: PackageSetup): Promise<"present" | "installed" | "kept"> {
  const modules = join(setup.root, "node_modules");
  const wanted = Bun.hash(readFileSync(join(setup.root, "bun.lock"))).toString(16);
  if (stampOf(modules) === wanted) return "present";
  // Without a lock on a read-only image: no other process can be writing there either.
  if (!isWritable(modules)) return installInto(modules, wanted, setup);
  return await withFileLock(join(modules, ".install.lock"), async () =>
    // Another process may have installed while this one waited for the lock.
    stampOf(modules) === wanted ? "present" : installInto(modules, wanted, setup),
  );
}

function installInto(
  modules: string,
  wanted: string,
  { root, install, say }: PackageSetup,
): "installed" | "kept" {
  const hadPackages = holdsPackages(modules);
  say(hadPackages ? "checking the installed packages (once)" : "installing packages (once)");
  const { success, output } = install(root);
  if (success) {
    writeFileSync(stampPath(modules), wanted);
    return "installed";
  }
  // Packages that someone put there (an image, an offline machine) may well be the right ones.
  if (!hadPackages) {
    throw new Error(`bun install failed, so there are no packages to run with:\n${output.trim()}`);
  }
  const reason = output.trim().split("\n").at(-1) ?? "";
  say(`could not compare node_modules with bun.lock; continuing with the packages that are there. ${reason}`);
  return "kept";
}

function stampPath(modules: string): string {
  return join(modules, ".installed-from");
}

function stampOf(modules: string): string | undefined {
  try {
    return readFileSync(stampPath(modules), "utf8");
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

/** Creates the directory where it can. */
function isWritable(directory: string): boolean {
  try {
    mkdirSync(directory, { recursive: true });
    accessSync(directory, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

async function runAgain(): Promise<never> {
  const again = Bun.spawn([process.execPath, ...process.execArgv, ...process.argv.slice(1)], {
    stdio: ["inherit", "inherit", "inherit"],
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => again.kill(signal));
  process.exit(await again.exited);
}

if (import.meta.main) await ensurePackages();
