// Starts Chromium, and opens the console in a tab that records everything a page must not do.
import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import { eventually } from "./eventually.ts";

/** Debian's Chromium; its sandbox needs privileges that a container does not give. */
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
  // Only here: almost every test file imports this module, through requirements.ts.
  const { chromium } = await import("playwright-core");
  return await chromium.launch({ executablePath: Bun.which("chromium") ?? "chromium", args: FLAGS });
}

/** One tab. Disposing closes it. */
export class Visit implements AsyncDisposable {
  readonly page: Page;
  /** Errors of scripts and of the console, dialogs, and requests to elsewhere. */
  readonly offences: string[] = [];
  readonly #context: BrowserContext;

  private constructor(context: BrowserContext, page: Page, origin: string) {
    this.#context = context;
    this.page = page;
    page.on("pageerror", (error) => this.offences.push(`error: ${error.message}`));
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning")
        this.offences.push(`console: ${message.text()}`);
    });
    page.on("dialog", (dialog) => {
      this.offences.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(`${origin}/`) && !url.startsWith("data:")) this.offences.push(`request: ${url}`);
    });
  }

  static async to(port: number, browser: Browser, options: BrowserContextOptions = {}): Promise<Visit> {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    const origin = `http://localhost:${port}`;
    const visit = new Visit(context, await context.newPage(), origin);
    await visit.page.goto(`${origin}/`);
    return visit;
  }

  /** Waits for something that the page shows. */
  async until(what: string, condition: () => Promise<boolean>, timeoutMs = 20_000): Promise<void> {
    await eventually(what, condition, { timeoutMs, everyMs: 100 });
  }

  /** The state in words. */
  async headline(): Promise<string> {
    return await this.page.locator(".status h2").innerText({ timeout: 1000 });
  }

  /** The big number of a figure, without its separators. */
  async figure(name: string): Promise<string> {
    const figure = this.page.locator(".figure", {
      has: this.page.locator("dt", { hasText: new RegExp(`^${name}$`) }),
    });
    return plain(await figure.locator(".value").innerText({ timeout: 1000 }));
  }

  /** The cells of a table's body and foot, as texts, without the separators of numbers. */
  async table(heading: string): Promise<string[][]> {
    const rows = `section[aria-labelledby="${heading}"] table :is(tbody, tfoot) tr`;
    const cells = await this.page.evaluate<string[][]>(
      `[...document.querySelectorAll('${rows}')].map((row) => [...row.cells].map((cell) => cell.innerText.trim()))`,
    );
    return cells.map((row) => row.map(plain));
  }

  /** True where the page is wider than its window. */
  async overflows(): Promise<boolean> {
    return await this.page.evaluate<boolean>("document.documentElement.scrollWidth > innerWidth");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#context.close();
  }
}

function plain(text: string): string {
  return text.replaceAll(/(?<=\d),(?=\d)/g, "");
}
