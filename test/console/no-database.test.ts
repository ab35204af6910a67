// Opens the console of a consumer that has never reached PostgreSQL.
import { expect } from "bun:test";
import { freePorts } from "../../shared/runtime/free-port.ts";
import { startChromium, Visit, whyNoChromium } from "../support/browser.ts";
import { Program } from "../support/process.ts";
import { requiring } from "../support/requirements.ts";

requiring("Chromium", whyNoChromium())(
  "the page does not show unknown figures as 0",
  async () => {
    const [port = 0, closed = 0] = await freePorts(2);
    await using consumer = Program.start("workers/consumer.ts", {
      env: {
        DB_HOST: "127.0.0.1",
        DB_PORT: String(closed),
        METRICS_PORT_CONSUMER: String(port),
        PROMETHEUS_URL: "http://localhost:1",
      },
    });
    await consumer.printed(/waiting for PostgreSQL/);
    await using browser = await startChromium();
    await using visit = await Visit.to(port, browser);
    const notes = visit.page.locator(".note.bad");
    await visit.until("each table is marked as unavailable", async () => (await notes.count()) === 3);
    await visit.until("the status is trouble", async () => (await visit.headline()) === "Something is wrong");
    expect(await visit.figure("Stored")).toBe("–");
    expect(await visit.figure("Dead letters")).toBe("–");
    const sections = visit.page.locator("section.section:has(.note.bad)");
    expect((await sections.allInnerTexts()).map((text) => text.split("\n")[0])).toEqual([
      "Hours by event type",
      "Ledger",
      "Dead letters",
    ]);
    for (const text of await sections.allInnerTexts()) expect(text).not.toMatch(/no events|none|No record/);
    expect(visit.offences).toEqual([]);
  },
  60_000,
);
