// The program's name in the page in; its console, kept up to date, out. The entry of the browser's script.
import { useEffect, useState } from "hono/jsx";
import { render } from "hono/jsx/dom";
import { ConsumerView } from "./consumer-view.tsx";
import { ProducerView } from "./producer-view.tsx";
import { type Connection, listen } from "./stream.ts";

/** As many seconds as the server keeps. */
const HISTORY = 300;

const SECTIONS = {
  consumer: ["status", "flow", "history", "workers", "ledger", "hours", "dead-letters", "alerts"],
  producer: ["status", "production", "history", "alerts"],
} as const;

type Sections = Record<string, unknown>;
type Point = { readonly atMs: number };

/** What a section brings; the newest point is the next of the history. */
function withSection(sections: Sections, name: string, value: unknown): Sections {
  const next = { ...sections, [name]: value };
  if (name !== "flow" && name !== "production") return next;
  const { now } = value as { readonly now: Point };
  const history = (sections["history"] ?? []) as readonly Point[];
  if (now.atMs > (history.at(-1)?.atMs ?? 0)) next["history"] = [...history, now].slice(-HISTORY);
  return next;
}

function Console({ program, build }: { program: "consumer" | "producer"; build: string }) {
  const [sections, setSections] = useState<Sections>({});
  const [connection, setConnection] = useState<Connection>({ kind: "connecting" });
  useEffect(() => {
    let latest: Sections = {};
    listen({
      sections: SECTIONS[program],
      build,
      onSection(name, value) {
        latest = withSection(latest, name, value);
        setSections(latest);
      },
      onConnection: setConnection,
    });
  }, []);
  if (program === "producer") {
    return <ProducerView sections={sections} connection={connection} />;
  }
  return <ConsumerView sections={sections} connection={connection} />;
}

const { program, build = "" } = document.body.dataset;
const root = document.querySelector<HTMLElement>("#console");
if (root !== null)
  render(<Console program={program === "producer" ? "producer" : "consumer"} build={build} />, root);
