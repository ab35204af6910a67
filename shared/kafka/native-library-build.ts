// The sources of librdkafka in; a shared library, built here, out.
import { cp, rename, rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { FatalError } from "../runtime/errors.ts";

export interface Build {
  readonly sources: string;
  /** An empty directory; afterwards it holds `fileName` and the build's log. */
  readonly directory: string;
  readonly fileName: string;
  readonly version: string;
  readonly say: (line: string) => void;
}

/**
 * Without Kerberos, and without curl (only for SASL OAUTHBEARER by OIDC): both drag in libraries. lz4 and snappy
 * are inside; TLS, zstd and gzip come along where their headers are installed.
 */
export const CONFIGURE_FLAGS: readonly string[] = [
  "--disable-lz4-ext",
  "--disable-gssapi",
  "--disable-curl",
  "--disable-debug-symbols",
];

/** By package manager: what installs all that a full build takes. */
const INSTALL_COMMANDS: Readonly<Record<string, string>> = {
  "apt-get": "apt-get install -y gcc make libc6-dev libssl-dev zlib1g-dev libzstd-dev",
  dnf: "dnf install -y gcc make glibc-devel openssl-devel zlib-devel libzstd-devel",
  apk: "apk add bash gcc make musl-dev linux-headers openssl-dev zlib-dev zstd-dev",
  brew: "xcode-select --install && brew install openssl@3 zstd",
};

/** Headers that stand for the C library's. */
const HEADER_PROBE =
  "#include <stdio.h>\n#include <pthread.h>\n#include <sys/socket.h>\nint main(void) { return 0; }\n";
/** The source tree without what the library is not made of. */
const LEFT_OUT = new Set(["tests", "examples", "win32", "src-cpp"]);
const LOG_TAIL_LINES = 15;

/**
 * Compiles librdkafka; about half a minute on two processors.
 * @throws FatalError naming what is missing and the command that installs it, or with the end of the log
 */
export async function buildLibrary({ sources, directory, fileName, version, say }: Build): Promise<void> {
  const compiler = await compilerOrThrow(version);
  say(`building librdkafka ${version} from the sources in its package (once, about half a minute) ...`);
  const startedAt = performance.now();
  const tree = join(directory, "source");
  const log = join(directory, "build.log");
  // configure and make write into the tree; the package stays as it was installed.
  await cp(sources, tree, { recursive: true, filter: (from) => !isLeftOut(sources, from) });
  const flags = [...CONFIGURE_FLAGS, `--cc=${compiler}`, `--cxx=${compiler}`];
  await run(["bash", "./configure", ...flags], tree, log);
  await run(["make", `-j${availableParallelism()}`, "-C", "src", fileName], tree, log);
  await rename(join(tree, "src", fileName), join(directory, fileName));
  await rm(tree, { recursive: true, force: true });
  say(`librdkafka ${version} built in ${Math.round((performance.now() - startedAt) / 1000)} s`);
}

/** What to type to install what a build takes: for this machine's package manager, else for each. */
export function installCommands(): string[] {
  const here = Object.keys(INSTALL_COMMANDS).filter((manager) => which(manager) !== null);
  return Object.entries(INSTALL_COMMANDS).flatMap(([manager, command]) =>
    here.length === 0 || here.includes(manager) ? [command] : [],
  );
}

async function compilerOrThrow(version: string): Promise<string> {
  const compiler = ["gcc", "cc", "clang"].find((name) => which(name) !== null);
  const missing = ["make", "bash"].filter((tool) => which(tool) === null);
  if (compiler === undefined) missing.unshift("a C compiler");
  else if (!(await compiles(compiler))) missing.unshift("the C library's headers");
  if (compiler !== undefined && missing.length === 0) return compiler;
  throw new FatalError(
    `librdkafka ${version} has to be built from the sources in its package, which takes what is missing here: ` +
      `${missing.join(", ")}. Install it and start again:\n${installCommands()
        .map((command) => `  ${command}`)
        .join("\n")}`,
  );
}

async function compiles(compiler: string): Promise<boolean> {
  const child = Bun.spawn([compiler, "-x", "c", "-fsyntax-only", "-"], {
    stdin: new Blob([HEADER_PROBE]),
    stdout: "ignore",
    stderr: "ignore",
  });
  return (await child.exited) === 0;
}

async function run(command: string[], directory: string, log: string): Promise<void> {
  const output = Bun.file(log);
  const child = Bun.spawn(command, { cwd: directory, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  const before = (await output.exists()) ? await output.text() : "";
  await Bun.write(output, `${before}$ ${command.join(" ")}\n${out}${err}`);
  if ((await child.exited) === 0) return;
  const tail = `${out}${err}`.trimEnd().split("\n").slice(-LOG_TAIL_LINES).join("\n");
  throw new FatalError(`librdkafka cannot be built: "${command.join(" ")}" failed (log: ${log}):\n${tail}`);
}

function isLeftOut(sources: string, path: string): boolean {
  return path === join(sources, basename(path)) && LEFT_OUT.has(basename(path));
}

function which(name: string): string | null {
  return Bun.which(name, { PATH: process.env["PATH"] ?? "" });
}
