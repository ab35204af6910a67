// Downloads the librdkafka that the release of @confluentinc/kafka-javascript holds, as its install script would.
import kafkaPackage from "@confluentinc/kafka-javascript/package.json" with { type: "json" };
import { errorMessage } from "../runtime/errors.ts";

/** The addon for Node.js; librdkafka, OpenSSL, zlib and zstd are linked into it. */
const ADDON = /\.node$/;
/**
 * Node.js 24, which each release has an addon for. Any will do: librdkafka's part of it does not depend on Node, and
 * what Bun lacks of Node is looked up only when it is called, which never happens.
 */
const NODE_ABI = "node-v137";
/** A network that drops packets answers nothing; a build takes half a minute. */
const ANSWER_TIMEOUT_MS = 3000;
const DOWNLOAD_TIMEOUT_MS = 20_000;

/** @param libc "musl" or "glibc" on Linux, undefined elsewhere; named as node-pre-gyp names it */
export function releaseUrl(libc: string | undefined): string {
  const { version, binary } = kafkaPackage;
  const values: Readonly<Record<string, string>> = {
    version,
    module_name: binary.module_name,
    node_abi: NODE_ABI,
    platform: process.platform,
    libc: libc ?? "unknown",
    arch: process.arch,
  };
  const path = `${binary.remote_path}/${binary.package_name}`.replaceAll(
    /\{(\w+)\}/g,
    (placeholder, name: string) => values[name] ?? placeholder,
  );
  return new URL(path, binary.host).href;
}

export interface Deadlines {
  readonly answerMs: number;
  readonly downloadMs: number;
}

/**
 * Saves the addon in the archive at `url` as `file`. Its only check of the content is gzip's checksum, since the
 * package does not hold a hash of its release.
 * @throws Error when the archive cannot be had before the deadlines, or holds no addon
 */
export async function downloadRelease(
  url: string,
  file: string,
  deadlines: Deadlines = { answerMs: ANSWER_TIMEOUT_MS, downloadMs: DOWNLOAD_TIMEOUT_MS },
): Promise<void> {
  const cancel = new AbortController();
  const cancelAfter = (ms: number, what: string) =>
    setTimeout(() => cancel.abort(new Error(`${what} within ${ms / 1000} s`)), ms);
  const answerTimer = cancelAfter(deadlines.answerMs, "no answer");
  const downloadTimer = cancelAfter(deadlines.downloadMs, "not complete");
  try {
    const response = await fetch(url, { signal: cancel.signal });
    clearTimeout(answerTimer);
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    const files = await new Bun.Archive(await response.arrayBuffer()).files();
    const addon = [...files].find(([path]) => ADDON.test(path))?.[1];
    if (addon === undefined) throw new Error("the archive holds no addon");
    await Bun.write(file, addon);
  } catch (error) {
    const reason = cancel.signal.aborted ? cancel.signal.reason : error;
    throw new Error(`${url}: ${errorMessage(reason)}`, { cause: error });
  } finally {
    clearTimeout(answerTimer);
    clearTimeout(downloadTimer);
  }
}
