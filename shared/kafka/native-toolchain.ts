// Finds the compiler and OpenSSL for a build of librdkafka, and names the commands that install what is missing.
import { existsSync } from "node:fs";
import { FatalError } from "../runtime/errors.ts";

interface PackageManager {
  readonly install: string;
  /** What installs a compiler, make and the C library's headers, if `install` with these packages does not. */
  readonly toolchain: string;
  readonly openssl: string;
}

const PACKAGE_MANAGERS: Readonly<Record<string, PackageManager>> = {
  "apt-get": { install: "apt-get install -y", toolchain: "gcc make libc6-dev", openssl: "libssl-dev" },
  dnf: { install: "dnf install -y", toolchain: "gcc make glibc-devel", openssl: "openssl-devel" },
  apk: { install: "apk add", toolchain: "bash gcc make musl-dev linux-headers", openssl: "openssl-dev" },
  brew: { install: "brew install", toolchain: "gcc make", openssl: "openssl@3 pkg-config" },
};

/** Headers that stand for the C library's. */
const C_LIBRARY = `
  #include <stdio.h>
  #include <pthread.h>
  #include <sys/socket.h>
  int main(void) { return 0; }`;
const OPENSSL = `
  #include <openssl/ssl.h>
  int main(void) { return SSL_CTX_new(TLS_client_method()) == NULL; }`;
/** Homebrew keeps OpenSSL out of the compiler's paths; librdkafka's configure looks here. */
const HOMEBREW_OPENSSL = ["/opt/homebrew/opt/openssl/lib/pkgconfig", "/usr/local/opt/openssl/lib/pkgconfig"];

/**
 * @returns the C compiler to build with
 * @throws FatalError that names what is missing and the commands that install it
 */
export async function findCompiler(version: string): Promise<string> {
  const compiler = compilerName();
  const missing = ["make", "bash"].filter((tool) => which(tool) === null);
  if (compiler === undefined) missing.unshift("a C compiler");
  else if (!(await links(compiler, C_LIBRARY))) missing.unshift("the C library's headers");
  if (compiler !== undefined && missing.length === 0) return compiler;
  const commands = packageManagers().map(
    ({ install, toolchain, openssl }) => `  ${install} ${toolchain} ${openssl}`,
  );
  throw new FatalError(
    `librdkafka ${version} must be built from the sources in its package, and this machine lacks ` +
      `${missing.join(", ")}. Install that and start again:\n${commands.join("\n")}`,
  );
}

/** Whether a library that is built here now would have TLS: a compiler finds OpenSSL's headers and its library. */
export async function offersTls(): Promise<boolean> {
  const compiler = compilerName();
  if (compiler === undefined) return false;
  if (process.platform === "darwin" && HOMEBREW_OPENSSL.some((path) => existsSync(path))) return true;
  return links(compiler, OPENSSL, "-lssl", "-lcrypto");
}

/** The command that installs OpenSSL's headers here. */
export function opensslCommand(): string {
  const commands = packageManagers().map(({ install, openssl }) => `${install} ${openssl}`);
  return commands.join(" or ");
}

/** The package managers of this machine; all of them where none is found. */
function packageManagers(): PackageManager[] {
  const here = Object.keys(PACKAGE_MANAGERS).filter((name) => which(name) !== null);
  return Object.entries(PACKAGE_MANAGERS).flatMap(([name, manager]) =>
    here.length === 0 || here.includes(name) ? [manager] : [],
  );
}

function compilerName(): string | undefined {
  return ["gcc", "cc", "clang"].find((name) => which(name) !== null);
}

async function links(compiler: string, program: string, ...libraries: string[]): Promise<boolean> {
  const child = Bun.spawn([compiler, "-x", "c", "-o", "/dev/null", "-", ...libraries], {
    stdin: new Blob([program]),
    stdout: "ignore",
    stderr: "ignore",
  });
  return (await child.exited) === 0;
}

function which(name: string): string | null {
  return Bun.which(name, { PATH: process.env["PATH"] ?? "" });
}
