// The server's events in; the sections as last told, and whether the connection stands, out.

/** `lost`: since when nothing has been heard, by this browser's clock. */
export type Connection =
  | { readonly kind: "connecting" }
  | { readonly kind: "live" }
  | { readonly kind: "lost"; readonly sinceMs: number };

/** The server speaks every second; a connection that is silent this long is none, whatever TCP thinks. */
const SILENCE_MS = 5000;
const RETRY_MS = 1000;
const WATCH_MS = 500;

export interface StreamOptions {
  readonly sections: readonly string[];
  /** What the page was made from: a server that was updated meanwhile sends another page. */
  readonly build: string;
  readonly onSection: (name: string, value: unknown) => void;
  readonly onConnection: (connection: Connection) => void;
}

/** Listens for as long as the page is there, and is looked at; comes back by itself, also over a restart of the server. */
export function listen({ sections, build, onSection, onConnection }: StreamOptions): void {
  let source: EventSource | undefined;
  let heardAtMs = Date.now();
  let openedAtMs = Date.now();
  let connection: Connection = { kind: "connecting" };

  const become = (next: Connection): void => {
    if (next.kind === connection.kind) return;
    connection = next;
    onConnection(next);
  };
  const heard = (): void => {
    heardAtMs = Date.now();
    become({ kind: "live" });
  };
  const open = (): void => {
    openedAtMs = Date.now();
    source = new EventSource("/events");
    source.addEventListener("build", ({ data }: MessageEvent<string>) => {
      if (JSON.parse(data) !== build) location.reload();
    });
    for (const name of sections) {
      source.addEventListener(name, ({ data }: MessageEvent<string>) => {
        heard();
        onSection(name, JSON.parse(data));
      });
    }
    source.addEventListener("error", () => become({ kind: "lost", sinceMs: heardAtMs }));
  };
  const close = (): void => {
    source?.close();
    source = undefined;
  };

  setInterval(() => {
    if (document.hidden) return;
    const nowMs = Date.now();
    if (nowMs - heardAtMs > SILENCE_MS) become({ kind: "lost", sinceMs: heardAtMs });
    // The browser comes back by itself after a broken connection; not after a refusal, and not from a silent one.
    const isOver = source === undefined || source.readyState === EventSource.CLOSED;
    const isSilent = nowMs - Math.max(heardAtMs, openedAtMs) > SILENCE_MS;
    if ((isOver && nowMs - openedAtMs > RETRY_MS) || isSilent) {
      close();
      open();
    }
  }, WATCH_MS);
  // Nobody looks: the server shall not ask the database for nothing, nor this tab hold a connection.
  document.addEventListener("visibilitychange", () => {
    close();
    if (document.hidden) return;
    heardAtMs = Date.now();
    open();
  });
  open();
}
