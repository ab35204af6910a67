// Says in words which features a librdkafka lacks.
import type { Library } from "./ffi/library.ts";
import { opensslCommand } from "./native-toolchain.ts";

/** The features of librdkafka that it may lack, and what they are for. */
const PURPOSES: Readonly<Record<string, string>> = {
  ssl: "TLS and SCRAM",
  gzip: "gzip",
  snappy: "snappy",
  lz4: "lz4",
  zstd: "zstd",
};

/** The features of a librdkafka that lacks nothing, in its words. */
export const ALL_FEATURES = Object.keys(PURPOSES);

/** What the loaded library lacks, and how to get it, in a sentence for a person; undefined where it lacks nothing. */
export function whatLibraryLacks(
  library: Library,
  features: readonly string[] = ALL_FEATURES,
): string | undefined {
  const missing = purposesOf(features, library.features());
  if (missing === "") return undefined;
  return `this librdkafka has no ${missing}; to get it, run "${opensslCommand()}" and start again`;
}

/** What the wanted features that were not found are for, as a list; "" where all were found. */
export function purposesOf(wanted: readonly string[], found: ReadonlySet<string>): string {
  return wanted
    .filter((feature) => !found.has(feature))
    .map((feature) => PURPOSES[feature] ?? feature)
    .join(", ");
}
