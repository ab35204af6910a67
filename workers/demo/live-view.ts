// Shows snapshots of the demo: redrawn in place on a terminal, else one line a second.
import type { Palette } from "./colors.ts";
import { renderFrame } from "./frame.ts";
import { plainLine } from "./plain-line.ts";
import type { Snapshot } from "./run.ts";
import { Screen, type Terminal } from "./screen.ts";

const FRAME_MS = 200;
const LINE_MS = 1000;

export interface LiveView {
  /** Restores the terminal and leaves the last frame or line on it. */
  stop(): void;
}

/** @param stream standard output; redrawn in place if it is a terminal that can move its cursor */
export function startLiveView(
  stream: NodeJS.WriteStream,
  palette: Palette,
  snapshot: () => Snapshot,
): LiveView {
  const isRedrawn = stream.isTTY && process.env["TERM"] !== "dumb";
  return isRedrawn ? new ScreenView(stream, palette, snapshot) : new LineView(stream, snapshot);
}

class ScreenView implements LiveView {
  readonly #stream: NodeJS.WriteStream;
  readonly #screen: Screen;
  readonly #palette: Palette;
  readonly #snapshot: () => Snapshot;
  readonly #timer: Timer;
  readonly #draw = (): void => {
    const { columns, rows } = this.#screen;
    this.#screen.draw(renderFrame(this.#snapshot(), { columns, rows }, this.#palette));
  };
  /** Runs before an uncaught error is printed, so that the error stays readable. */
  readonly #close = (): void => this.#screen.close();
  /** On Ctrl-Z the shell gets its screen back. */
  readonly #suspend = (): void => {
    this.#screen.close();
    process.kill(process.pid, "SIGSTOP");
  };
  readonly #continue = (): void => {
    this.#screen.open();
    this.#draw();
  };

  constructor(stream: NodeJS.WriteStream & Terminal, palette: Palette, snapshot: () => Snapshot) {
    this.#stream = stream;
    this.#screen = new Screen(stream);
    this.#palette = palette;
    this.#snapshot = snapshot;
    process.prependListener("uncaughtException", this.#close);
    process.prependListener("unhandledRejection", this.#close);
    process.on("SIGTSTP", this.#suspend);
    process.on("SIGCONT", this.#continue);
    this.#screen.open();
    this.#draw();
    stream.on("resize", this.#draw);
    this.#timer = setInterval(this.#draw, FRAME_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#stream.off("resize", this.#draw);
    process.off("uncaughtException", this.#close);
    process.off("unhandledRejection", this.#close);
    process.off("SIGTSTP", this.#suspend);
    process.off("SIGCONT", this.#continue);
    this.#screen.close();
    // The alternate screen is gone; its last frame goes to the normal one.
    const frame = renderFrame(
      this.#snapshot(),
      { columns: this.#screen.columns, rows: Infinity },
      this.#palette,
    );
    this.#stream.write(`${frame.join("\n")}\n`);
  }
}

class LineView implements LiveView {
  readonly #stream: NodeJS.WriteStream;
  readonly #snapshot: () => Snapshot;
  readonly #timer: Timer;

  constructor(stream: NodeJS.WriteStream, snapshot: () => Snapshot) {
    this.#stream = stream;
    this.#snapshot = snapshot;
    this.#timer = setInterval(() => this.#print(), LINE_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#print();
  }

  #print(): void {
    this.#stream.write(`${plainLine(this.#snapshot())}\n`);
  }
}
