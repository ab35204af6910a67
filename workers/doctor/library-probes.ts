// Probes librdkafka: whether there is one, what it can do, and whether there is room for it.
import { constants } from "node:fs";
import { access, stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import type { Library } from "../../shared/kafka/ffi/library.ts";
import { prepareNativeLibrary } from "../../shared/kafka/native-library.ts";
import { whatLibraryLacks } from "../../shared/kafka/native-library-features.ts";
import { cacheDirectory } from "../../shared/runtime/cache.ts";
import { bytes } from "../../shared/text/format.ts";
import { failed, type Finding, ok, probe, warning } from "./finding.ts";

/** What a build takes for a while; the library that is kept has some megabytes. */
const BUILD_BYTES = 500e6;

/** @param say takes lines about a set-up that takes long */
export async function probeLibrary(say: (line: string) => void): Promise<Finding[]> {
  let loaded: Library | undefined;
  const library = await probe("library", async () => {
    loaded = await prepareNativeLibrary(say);
    return ok("library", `librdkafka ${loaded.version}, ${loaded.path}`);
  });
  if (loaded === undefined) return [library, await probe("library_disk", probeDisk)];
  return [library, probeFeatures(loaded)];
}

function probeFeatures(library: Library): Finding {
  const lack = whatLibraryLacks(library);
  if (lack !== undefined) return warning("library_features", lack);
  return ok("library_features", "gzip, snappy, lz4, zstd, TLS and SCRAM");
}

/** Where the library is to be kept, when it could not be had. */
async function probeDisk(): Promise<Finding> {
  const directory = await existingParent(cacheDirectory());
  const { bavail, bsize } = await statfs(directory);
  const free = bavail * bsize;
  try {
    await access(directory, constants.W_OK);
  } catch {
    return failed(
      "library_disk",
      `${directory} cannot be written: set XDG_CACHE_HOME to a directory that can`,
    );
  }
  const detail = `${bytes(free)} are free at ${directory}`;
  if (free >= BUILD_BYTES) return ok("library_disk", detail);
  return failed(
    "library_disk",
    `${detail}, and building librdkafka takes ${bytes(BUILD_BYTES)}: set XDG_CACHE_HOME`,
  );
}

async function existingParent(path: string): Promise<string> {
  return (await stat(path).catch(() => undefined)) === undefined ? existingParent(dirname(path)) : path;
}
