// Builds librdkafka from sources that npm packages carry, with gzip and zstd linked into it.
import { appendFile, cp, mkdir, rename, rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { FatalError } from "../runtime/errors.ts";
import { findCompiler } from "./native-toolchain.ts";

/** Directories of C sources. */
export interface NativeSources {
  readonly librdkafka: string;
  readonly zlib: string;
  readonly zstd: string;
}

export interface Build {
  readonly sources: NativeSources;
  /** An empty directory; afterwards it holds `fileName` and the build's log. */
  readonly directory: string;
  readonly fileName: string;
  readonly version: string;
  /** More flags for librdkafka's configure. Without any it takes OpenSSL where it finds that. */
  readonly flags: readonly string[];
  readonly say: (line: string) => void;
}

/**
 * Without Kerberos, and without curl (only for SASL OAUTHBEARER by OIDC): both need libraries of the machine. lz4 and
 * snappy are part of librdkafka's own sources.
 */
const CONFIGURE_FLAGS: readonly string[] = [
  "--disable-lz4-ext",
  "--disable-gssapi",
  "--disable-curl",
  "--disable-debug-symbols",
];
/** Stands in the name of a cached library for the way in which it was built; change it with the way. */
export const BUILD_RECIPE = "static-codecs-2";

/** What the library is not made of. */
const LEFT_OUT = new Set(["tests", "examples", "win32", "src-cpp"]);
const LOG_TAIL_LINES = 15;

/**
 * Compiles zlib, zstd and librdkafka; about half a minute on two processors. The result needs the C library, and
 * OpenSSL where that was found; headers of zlib and zstd on the machine are not used.
 * @throws FatalError naming what is missing and the command that installs it, or with the end of the log
 */
export async function buildLibrary(build: Build): Promise<void> {
  const { sources, directory, fileName, version, flags, say } = build;
  const compiler = await findCompiler(version);
  say(`building librdkafka ${version} from the sources in its package (once, about half a minute) ...`);
  const startedAt = performance.now();
  // configure and make write beside the sources; the packages stay as they were installed.
  const tree = join(directory, "source");
  await mkdir(tree);
  const librdkafka = join(tree, "librdkafka");
  const zstd = join(tree, "zstd");
  const zlib = join(tree, "zlib");
  await Promise.all([
    cp(sources.librdkafka, librdkafka, {
      recursive: true,
      filter: (from) => !isLeftOut(sources.librdkafka, from),
    }),
    cp(sources.zlib, zlib, { recursive: true }),
    cp(sources.zstd, zstd, { recursive: true }),
  ]);
  // The paths of the libraries are relative, as a space in them would end a flag: configure links in librdkafka's
  // directory and make in the `src` below it. LIBRARY_PATH would do for neither, because gcc looks there last.
  const run = async (cwd: string, ...command: string[]) => {
    const env = { ...process.env, CC: compiler, CPATH: `${zlib}:${zstd}`, LDFLAGS: "-L.. -L../.." };
    await runLogged({ command, cwd, env, log: join(directory, "build.log") });
  };
  const jobs = `-j${availableParallelism()}`;
  // Before configure, which links a program with each library that it is to use. It takes two seconds, and make keeps
  // all processors busy before and after it.
  await run(tree, "make", jobs, `CC=${compiler}`, "-f", join(import.meta.dir, "codecs.mk"));
  const compilers = [`--cc=${compiler}`, `--cxx=${compiler}`];
  await run(librdkafka, "bash", "./configure", ...CONFIGURE_FLAGS, ...compilers, ...flags);
  await run(librdkafka, "make", jobs, "-C", "src", fileName);
  await rename(join(librdkafka, "src", fileName), join(directory, fileName));
  await rm(tree, { recursive: true, force: true });
  say(`librdkafka ${version} built in ${Math.round((performance.now() - startedAt) / 1000)} s`);
}

interface Command {
  readonly command: string[];
  readonly cwd: string;
  readonly env: Record<string, string | undefined>;
  /** The output is appended to this file. */
  readonly log: string;
}

async function runLogged({ command, cwd, env, log }: Command): Promise<void> {
  const child = Bun.spawn(command, { cwd, env, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  await appendFile(log, `$ ${command.join(" ")}\n${out}${err}`);
  if ((await child.exited) === 0) return;
  const tail = `${out}${err}`.trimEnd().split("\n").slice(-LOG_TAIL_LINES).join("\n");
  throw new FatalError(`librdkafka cannot be built: "${command.join(" ")}" failed (log: ${log}):\n${tail}`);
}

function isLeftOut(sources: string, path: string): boolean {
  return path === join(sources, basename(path)) && LEFT_OUT.has(basename(path));
}
