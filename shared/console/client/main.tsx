// Starts the console of the program that the page names. The entry of the browser's script.
import { useEffect, useState } from "hono/jsx";
import { render } from "hono/jsx/dom";
import type { ConsumerSections, FlowPoint, ProducerSections, ProductionPoint } from "../../api-schema.ts";
import { ConsumerView } from "./consumer-view.tsx";
import { ProducerView } from "./producer-view.tsx";
import { type Connection, listen } from "./stream.ts";

/** As many seconds as the server keeps. */
const HISTORY = 300;

const CONSUMER_SECTIONS = [
  "status",
  "flow",
  "history",
  "workers",
  "ledger",
  "hours",
  "dead-letters",
  "alerts",
] as const;
const PRODUCER_SECTIONS = ["status", "production", "history", "alerts"] as const;

function ConsumerConsole({ build }: { build: string }) {
  const { sections, connection } = useSections<ConsumerSections>(CONSUMER_SECTIONS, build, (next) => ({
    ...next,
    history: extended<FlowPoint>(next.history, next.flow?.now),
  }));
  return <ConsumerView sections={sections} connection={connection} />;
}

function ProducerConsole({ build }: { build: string }) {
  const { sections, connection } = useSections<ProducerSections>(PRODUCER_SECTIONS, build, (next) => ({
    ...next,
    history: extended<ProductionPoint>(next.history, next.production?.now),
  }));
  return <ProducerView sections={sections} connection={connection} />;
}

/** The sections as last received. @param derive completes them after each event */
function useSections<Sections>(
  names: readonly (keyof Sections & string)[],
  build: string,
  derive: (sections: Partial<Sections>) => Partial<Sections>,
): { sections: Partial<Sections>; connection: Connection } {
  const [sections, setSections] = useState<Partial<Sections>>({});
  const [connection, setConnection] = useState<Connection>({ kind: "connecting" });
  useEffect(() => {
    let latest: Partial<Sections> = {};
    listen<Sections>({
      sections: names,
      build,
      onSection(section) {
        latest = derive({ ...latest, ...section });
        setSections(latest);
      },
      onConnection: setConnection,
    });
  }, []);
  return { sections, connection };
}

/** The server sends the history once; then each newest point extends it. */
function extended<Point extends { readonly atMs: number }>(
  history: readonly Point[] = [],
  newest?: Point,
): Point[] {
  const isNew = newest !== undefined && newest.atMs > (history.at(-1)?.atMs ?? 0);
  return isNew ? [...history, newest].slice(-HISTORY) : [...history];
}

const { program, build = "" } = document.body.dataset;
const root = document.querySelector<HTMLElement>("#console");
if (root !== null) {
  render(
    program === "producer" ? <ProducerConsole build={build} /> : <ConsumerConsole build={build} />,
    root,
  );
}
