// Draws lines in place on a terminal's alternate screen, and restores the terminal at the end.

/** The part of process.stdout that is used. */
export interface Terminal {
  readonly columns: number;
  readonly rows: number;
  write(text: string): unknown;
}

const ESCAPE = "\x1b[";
/** Alternate screen, hidden cursor, no wrapping of long lines. */
const ENTER = `${ESCAPE}?1049h${ESCAPE}?25l${ESCAPE}?7l`;
const LEAVE = `${ESCAPE}?7h${ESCAPE}?25h${ESCAPE}?1049l`;
const HOME = `${ESCAPE}H`;
const CLEAR_LINE_END = `${ESCAPE}K`;
const CLEAR_BELOW = `${ESCAPE}J`;
/** Terminals that support this show everything in between at once; the others ignore it. */
const BEGIN_FRAME = `${ESCAPE}?2026h`;
const END_FRAME = `${ESCAPE}?2026l`;

const FALLBACK_COLUMNS = 80;
const FALLBACK_ROWS = 24;

export class Screen {
  readonly #terminal: Terminal;
  #isOpen = false;
  readonly #onExit = (): void => this.close();

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  get columns(): number {
    return this.#terminal.columns || FALLBACK_COLUMNS;
  }

  get rows(): number {
    return this.#terminal.rows || FALLBACK_ROWS;
  }

  /** Takes the terminal over. It is restored at the latest when the process exits. */
  open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    process.on("exit", this.#onExit);
    this.#terminal.write(ENTER);
  }

  /** Overwrites lines without clearing them first, so nothing flickers. */
  draw(lines: readonly string[]): void {
    if (!this.#isOpen) return;
    const text = lines.slice(0, this.rows).map((line) => line + CLEAR_LINE_END);
    this.#terminal.write(`${BEGIN_FRAME}${HOME}${text.join("\r\n")}${CLEAR_BELOW}${HOME}${END_FRAME}`);
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    process.off("exit", this.#onExit);
    this.#terminal.write(LEAVE);
  }
}
