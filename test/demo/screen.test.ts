import { describe, expect, test } from "bun:test";
import { Screen } from "../../workers/demo/screen.ts";

class FakeTerminal {
  columns = 80;
  rows = 3;
  written = "";

  write(text: string): void {
    this.written += text;
  }
}

const ENTER_AND_LEAVE = ["\x1b[?1049h", "\x1b[?1049l"] as const;

describe("the screen", () => {
  test("takes the terminal once, and restores it once", () => {
    const terminal = new FakeTerminal();
    const screen = new Screen(terminal);
    screen.open();
    screen.open();
    screen.close();
    screen.close();
    screen.draw(["too late"]);
    for (const sequence of ENTER_AND_LEAVE) expect(terminal.written.split(sequence)).toHaveLength(2);
    expect(terminal.written).not.toContain("too late");
  });

  test("draws in place and in one piece, without clearing first", () => {
    const terminal = new FakeTerminal();
    const screen = new Screen(terminal);
    screen.open();
    terminal.written = "";
    screen.draw(["one", "two", "three", "four"]);
    expect(terminal.written).toStartWith("\x1b[?2026h\x1b[H");
    expect(terminal.written).toContain("one\x1b[K\r\ntwo\x1b[K\r\nthree\x1b[K\x1b[J");
    expect(terminal.written).not.toContain("four");
    expect(terminal.written).not.toContain("\x1b[2J");
    screen.close();
  });

  test("is 80 by 24 if the terminal does not know its size", () => {
    const screen = new Screen(Object.assign(new FakeTerminal(), { columns: 0, rows: 0 }));
    expect([screen.columns, screen.rows]).toEqual([80, 24]);
  });
});
