// Receives the server's events, and reconnects for as long as the page is open and visible.

/** `lost`: the last event came at `sinceMs`, by this browser's clock. */
export type Connection =
  | { readonly kind: "connecting" }
  | { readonly kind: "live" }
  | { readonly kind: "lost"; readonly sinceMs: number };

/** The server sends every second; a connection that is silent for this long is lost, even if TCP keeps it. */
const SILENCE_MS = 5000;
const RETRY_MS = 1000;
const WATCH_MS = 500;

export interface StreamOptions<Sections> {
  readonly sections: readonly (keyof Sections & string)[];
  /** The build of this page: a server with another build has another page, which is then loaded. */
  readonly build: string;
  readonly onSection: (section: Partial<Sections>) => void;
  readonly onConnection: (connection: Connection) => void;
}

/** Connects, and never stops: it ends with the page. */
export function listen<Sections>(options: StreamOptions<Sections>): void {
  const { sections, build, onSection, onConnection } = options;
  let source: EventSource | undefined;
  let heardAtMs = Date.now();
  let openedAtMs = Date.now();
  let connection: Connection = { kind: "connecting" };

  const become = (next: Connection): void => {
    if (next.kind === connection.kind) return;
    connection = next;
    onConnection(next);
  };
  const open = (): void => {
    openedAtMs = Date.now();
    source = new EventSource("/events");
    source.addEventListener("build", ({ data }: MessageEvent<string>) => {
      if (JSON.parse(data) !== build) location.reload();
    });
    for (const name of sections) {
      source.addEventListener(name, ({ data }: MessageEvent<string>) => {
        heardAtMs = Date.now();
        become({ kind: "live" });
        // A server of the same build sends what this page's types say.
        onSection({ [name]: JSON.parse(data) } as Partial<Sections>);
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
    // The browser reconnects after a broken connection, but not after a refusal or on a silent connection.
    const isOver = source === undefined || source.readyState === EventSource.CLOSED;
    const isSilent = nowMs - Math.max(heardAtMs, openedAtMs) > SILENCE_MS;
    if ((isOver && nowMs - openedAtMs > RETRY_MS) || isSilent) {
      close();
      open();
    }
  }, WATCH_MS);
  // A hidden page holds no connection, so that the server need not query the database for it.
  document.addEventListener("visibilitychange", () => {
    close();
    if (document.hidden) return;
    heardAtMs = Date.now();
    open();
  });
  open();
}
