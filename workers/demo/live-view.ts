// Snapshots, asked for again and again, in; a live view on a terminal, or a line a second elsewhere, out.
import type { Palette } from "./colors.ts";
import { plainLine } from "./plain-line.ts";
import { Screen, type Terminal } from "./screen.ts";
import type { Snapshot } from "./snapshot.ts";
import { renderFrame } from "./frame.ts";

const FRAME_MS = 200;
const LINE_MS = 1000;

export interface Presenter {
  /** Leaves the terminal as it was, with what was shown last. */
  stop(): void;
}

/** @param stream standard output; a live view where it is a terminal that can move its cursor */
export function present(stream: NodeJS.WriteStream, ink: Palette, snapshot: () => Snapshot): Presenter {
  const isLive = stream.isTTY && process.env["TERM"] !== "dumb";
  return isLive ? new LiveView(stream, ink, snapshot) : new Lines(stream, snapshot);
}

class LiveView implements Presenter {
  readonly #stream: NodeJS.WriteStream;
  readonly #screen: Screen;
  readonly #ink: Palette;
  readonly #snapshot: () => Snapshot;
  readonly #timer: Timer;
  readonly #draw = (): void => {
    const { columns, rows } = this.#screen;
    this.#screen.draw(renderFrame(this.#snapshot(), { columns, rows }, this.#ink));
  };
  /** An error is printed after this, where it can be read. */
  readonly #close = (): void => this.#screen.close();
  /** Ctrl-Z: the shell gets its screen back meanwhile. */
  readonly #suspend = (): void => {
    this.#screen.close();
    process.kill(process.pid, "SIGSTOP");
  };
  readonly #continue = (): void => {
    this.#screen.open();
    this.#draw();
  };

  constructor(stream: NodeJS.WriteStream & Terminal, ink: Palette, snapshot: () => Snapshot) {
    this.#stream = stream;
    this.#screen = new Screen(stream);
    this.#ink = ink;
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
    // The other screen is gone; what it showed last stays in this one.
    const frame = renderFrame(this.#snapshot(), { columns: this.#screen.columns, rows: Infinity }, this.#ink);
    this.#stream.write(`${frame.join("\n")}\n`);
  }
}

class Lines implements Presenter {
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
