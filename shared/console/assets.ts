// Bundles the console's browser code into one script and one style sheet, at their first request.
import { resolve } from "node:path";

export interface Assets {
  readonly script: string;
  readonly style: string;
  /** A hash of both. */
  readonly build: string;
}

const HERE = import.meta.dir;

/** The assets of this process, built once in about 50 ms and kept. */
export function makeAssets(): () => Promise<Assets> {
  let made: Promise<Assets> | undefined;
  return () => {
    made ??= build().catch((error: unknown) => {
      made = undefined;
      throw error;
    });
    return made;
  };
}

async function build(): Promise<Assets> {
  const [script, charts, own] = await Promise.all([
    bundle(resolve(HERE, "client/main.tsx")),
    Bun.file(Bun.resolveSync("uplot/dist/uPlot.min.css", HERE)).text(),
    Bun.file(resolve(HERE, "console.css")).text(),
  ]);
  const style = `${charts}\n${own}`;
  return { script, style, build: Bun.hash(script + style).toString(36) };
}

async function bundle(entry: string): Promise<string> {
  const { outputs } = await Bun.build({
    entrypoints: [entry],
    target: "browser",
    minify: true,
    jsx: { runtime: "automatic", importSource: "hono/jsx/dom", development: false },
  });
  const [script] = outputs;
  if (script === undefined) throw new Error(`the bundle of ${entry} is empty`);
  return await script.text();
}
