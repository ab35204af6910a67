// Finds a librdkafka that works on this machine, or gets one: from the package's release, else from its sources.
import kafkaPackage from "@confluentinc/kafka-javascript/package.json" with { type: "json" };
import zlibPackage from "zlib-sync/package.json" with { type: "json" };
import zstdPackage from "zstd-napi/package.json" with { type: "json" };
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { isSetupAllowed } from "../runtime/ensure-packages.ts";
import { FatalError } from "../runtime/errors.ts";
import type { Library } from "./ffi/library.ts";
import { loadLibrary, setLibraryPath } from "./ffi/load-library.ts";
import { BUILD_RECIPE, buildLibrary } from "./native-library-build.ts";
import { prepareLibrary } from "./native-library-cache.ts";
import { ALL_FEATURES } from "./native-library-features.ts";
import { downloadRelease, releaseUrl } from "./native-library-release.ts";
import { offersTls } from "./native-toolchain.ts";

const PLATFORMS = new Set(["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"]);

/**
 * A verified librdkafka: the package's own binary where its installation or its release has one that works here,
 * else one that is built from sources, once, and kept. The main thread awaits it before its first Kafka client and
 * its first worker thread; after that, `loadLibrary` finds the library in every thread.
 * @param say takes lines for a person: what is being done, what the library lacks
 * @throws FatalError when there is none for this platform, what it takes to build one is missing, or none is cached
 *   and AUTO_SETUP=false
 */
export async function prepareNativeLibrary(say: (line: string) => void): Promise<Library> {
  const platform = `${process.platform}-${process.arch}`;
  if (!PLATFORMS.has(platform)) {
    throw new FatalError(
      `there is no librdkafka for ${platform}; Linux and macOS on x64 and arm64 have one (on Windows: WSL)`,
    );
  }
  const libc = process.platform === "linux" ? linuxLibc() : undefined;
  const home = packageHome("@confluentinc/kafka-javascript");
  const version = kafkaPackage.librdkafka;
  const fileName = process.platform === "darwin" ? "librdkafka.1.dylib" : "librdkafka.so.1";
  const recipe = Bun.hash(`${BUILD_RECIPE} ${zlibPackage.version} ${zstdPackage.version}`);
  const path = await prepareLibrary({
    version,
    features: ALL_FEATURES,
    fileName,
    installed: [
      join(home, "build", "Release", "confluent-kafka-javascript.node"),
      join(home, "build", "deps", fileName),
    ],
    cacheName: `librdkafka-${version}-${platform}-${libc ?? "system"}-${recipe.toString(36).slice(0, 6)}`,
    isAllowed: isSetupAllowed(),
    offersTls,
    download: (file) => downloadRelease(releaseUrl(libc), file),
    build: (directory, withTls) =>
      buildLibrary({
        sources: nativeSources(),
        directory,
        fileName,
        version,
        flags: withTls ? [] : ["--disable-ssl"],
        say,
      }),
    say,
  });
  setLibraryPath(path);
  return loadLibrary();
}

/** Where the npm packages have the sources that a build takes. */
export function nativeSources() {
  return {
    librdkafka: join(packageHome("@confluentinc/kafka-javascript"), "deps", "librdkafka"),
    zlib: join(packageHome("zlib-sync"), "deps", "zlib"),
    zstd: join(packageHome("zstd-napi"), "deps", "zstd", "lib"),
  };
}

function packageHome(name: string): string {
  return dirname(Bun.resolveSync(`${name}/package.json`, import.meta.dir));
}

/** A library for one C library does not load under the other; a home directory may be shared. */
function linuxLibc(): "musl" | "glibc" {
  const architecture = process.arch === "x64" ? "x86_64" : "aarch64";
  return existsSync(`/lib/ld-musl-${architecture}.so.1`) ? "musl" : "glibc";
}
