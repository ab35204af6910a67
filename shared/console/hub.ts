// Sections of a console in; each browser that watches gets what has changed, as server-sent events, out.

/** One part of what a console shows. */
export interface Section {
  /** As last known; answers at once. */
  readonly read: () => unknown;
  /** Brings it up to date where it is older than a second; never rejects. None: it always is. */
  readonly refresh?: () => Promise<void>;
  /** Sent once to each browser, which then adds to it what the other sections bring. */
  readonly isOnce?: boolean;
}

export type Sections = Readonly<Record<string, Section>>;

const TICK_MS = 1000;
/** What takes longer to bring up to date is sent when it is there. */
const REFRESH_PATIENCE_MS = 400;

interface Sent {
  readonly text: string;
  readonly version: number;
}

/**
 * Once a second, while anybody watches, the sections are read; whatever changed is made into text once, for all.
 * A browser that takes its time gets the newest text of each section when it is ready for it, and nothing is kept
 * for it meanwhile.
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

  /** Brings all sections up to date. */
  async refresh(): Promise<void> {
    await Promise.all(Object.values(this.#sections).flatMap(({ refresh }) => (refresh ? [refresh()] : [])));
  }

  /**
   * Writes to one browser until it has gone or the console closes.
   * @param write resolves when the text has been taken, with false when nobody takes it any more
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
        if (!(await write(text))) return;
      }
    } finally {
      this.#watchers--;
    }
  }

  /** Lets go of all who watch. */
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
      // It ends the streams: what only looks shall not end the program.
      const { promise, reject } = this.#nextTick();
      promise.catch(() => undefined);
      reject(error);
    } finally {
      this.#running = undefined;
    }
  }

  /** What those who watch now wait for; from here on they wait for the next one. */
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

/** JSON has no line breaks of its own, so that one data line holds it. */
function eventText(name: string, value: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(value)}\n\n`;
}
