// Loads librdkafka into a thread, from the file that the main thread has found.
import { getEnvironmentData, setEnvironmentData } from "node:worker_threads";
import { Library } from "./library.ts";

/** The environment data of Node threads: a thread starts with a copy of what its parent had. */
const PATH_KEY = "event-pipeline.librdkafka";

let loaded: Library | undefined;

/** Sets the file that `loadLibrary` loads, in this thread and in all threads that start afterwards. */
export function setLibraryPath(path: string): void {
  setEnvironmentData(PATH_KEY, path);
}

/**
 * Loads librdkafka into this thread (once per thread; all threads share its code and its global state).
 * @throws FatalError when the file is not a librdkafka
 * @throws Error when `prepareNativeLibrary` was not awaited before
 */
export function loadLibrary(): Library {
  if (loaded !== undefined) return loaded;
  const path = getEnvironmentData(PATH_KEY);
  if (typeof path !== "string") {
    throw new Error("prepareNativeLibrary must come before the first Kafka client");
  }
  loaded = new Library(path);
  return loaded;
}
