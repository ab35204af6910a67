// Sends the sections of a console to every watching browser, as server-sent events, when they change.

/** One section of a console. */
export interface Section {
  /** The last known value, at once. */
  readonly read: () => unknown;
  /** Updates a value that is older than a second; never rejects. Absent: the value is always current. */
  readonly refresh?: () => Promise<void>;
  /** True: sent to each browser only once, which then extends it from the other sections. */
  readonly isOnce?: boolean;
}

export type Sections = Readonly<Record<string, Section>>;

const TICK_MS = 1000;
/** A section whose update takes longer is sent with a later tick. */
const REFRESH_PATIENCE_MS = 400;

/** A comment of the format, which a browser ignores. */
const NO_CHANGE = ":\n\n";

interface Sent {
  readonly text: string;
  readonly version: number;
}

/**
 * Reads the sections once a second while a browser watches, and serializes each change once for all browsers. A slow
 * browser gets the newest text of each section when it is ready; the hub queues nothing for it.
 */
export class Hub {
  readonly #sections: Sections;
  readonly #sent = new Map<string, Sent>();
  #version = 0;
  #watchers = 0;
  #isClosed = false;
  #ticked = Promise.withResolvers<void>();
  #running: Promise<void> | undefined;

  constructor(sections: Sections) {
    this.#sections = sections;
  }

  get watchers(): number {
    return this.#watchers;
  }

  /** Updates all sections. */
  async refresh(): Promise<void> {
    await Promise.all(Object.values(this.#sections).flatMap(({ refresh }) => (refresh ? [refresh()] : [])));
  }

  /**
   * Writes to one browser until the browser leaves or the console closes.
   * @param write resolves when the text was accepted, with false if the browser has left
   * @throws what a section throws when it is read
   */
  async watch(write: (text: string) => Promise<boolean>): Promise<void> {
    this.#watchers++;
    try {
      const isUnderWay = this.#running !== undefined;
      let seen = 0;
      for (let isFirst = true; !this.#isClosed; isFirst = false) {
        this.#running ??= this.#run();
        if (!(isFirst && isUnderWay)) await this.#ticked.promise;
        const text = `${isFirst ? this.#once() : ""}${this.#changesSince(seen)}`;
        seen = this.#version;
        // Bun closes a connection on which nothing is sent for a while.
        if (!(await write(text === "" ? NO_CHANGE : text))) return;
      }
    } finally {
      this.#watchers--;
    }
  }

  /** Ends all streams. */
  close(): void {
    this.#isClosed = true;
    this.#ticked.resolve();
  }

  async #run(): Promise<void> {
    try {
      while (this.#watchers > 0 && !this.#isClosed) {
        const nextTick = Bun.sleep(TICK_MS);
        await Promise.race([this.refresh(), Bun.sleep(REFRESH_PATIENCE_MS)]);
        this.#readAll();
        this.#nextTick().resolve();
        await nextTick;
      }
    } catch (error) {
      // End the streams instead: a read-only page must not take the process down.
      const { promise, reject } = this.#nextTick();
      promise.catch(() => undefined);
      reject(error);
    } finally {
      this.#running = undefined;
    }
  }

  /** The tick that the watchers are waiting for; from now on they wait for the next one. */
  #nextTick(): PromiseWithResolvers<void> {
    const ticked = this.#ticked;
    this.#ticked = Promise.withResolvers();
    return ticked;
  }

  #readAll(): void {
    this.#version++;
    for (const [name, { read, isOnce }] of Object.entries(this.#sections)) {
      if (isOnce) continue;
      const text = eventText(name, read());
      if (this.#sent.get(name)?.text !== text) this.#sent.set(name, { text, version: this.#version });
    }
  }

  #once(): string {
    return Object.entries(this.#sections)
      .filter(([, { isOnce }]) => isOnce)
      .map(([name, { read }]) => eventText(name, read()))
      .join("");
  }

  #changesSince(seen: number): string {
    return this.#sent
      .values()
      .filter(({ version }) => version > seen)
      .map(({ text }) => text)
      .toArray()
      .join("");
  }
}

/** JSON contains no line breaks, so one data line holds it. */
function eventText(name: string, value: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(value)}\n\n`;
}
