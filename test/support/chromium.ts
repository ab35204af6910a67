// Nothing in; a real browser, or why there is none, out.
import { type Browser, chromium } from "playwright-core";

/** Debian's; its sandbox needs privileges that a container does not give. */
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Why no browser can be started here, in words; undefined where one can. */
export function whyNoChromium(): string | undefined {
  return Bun.which("chromium") === null ? "there is no `chromium` on the PATH" : undefined;
}

export async function startChromium(): Promise<Browser> {
  return await chromium.launch({ executablePath: Bun.which("chromium") ?? "chromium", args: FLAGS });
}
