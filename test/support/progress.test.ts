import { describe, expect, test } from "bun:test";
import { Progress } from "./progress.ts";

function recorded(terminal: { isTTY?: boolean; columns?: number } = {}) {
  let written = "";
  const output = { ...terminal, write: (text: string) => (written += text) };
  return { output, written: () => written };
}

describe("progress", () => {
  test("names what runs and how many jobs are left", () => {
    using progress = new Progress(recorded().output);
    progress.expect(3);
    expect(progress.line()).toBe("   3 left, running: nothing");
    progress.started("a");
    progress.started("b");
    expect(progress.line()).toMatch(/^ {3}3 left, running: a \(\d+ s\), b \(\d+ s\)$/);
    progress.ended("a");
    expect(progress.line()).toMatch(/^ {3}2 left, running: b \(\d+ s\)$/);
  });

  test("is one line on a terminal, no wider than it, and the lines of the run replace it", () => {
    const { output, written } = recorded({ isTTY: true, columns: 20 });
    using progress = new Progress(output);
    progress.expect(1);
    progress.started("a-very-long-name");
    expect(written()).toBe("\r   1 left, running:\u001B[K");
    progress.print("a line");
    expect(written()).toEndWith("\r\u001B[Ka line\n");
  });

  test("writes no escape sequences to a pipe", () => {
    const { output, written } = recorded();
    using progress = new Progress(output);
    progress.expect(1);
    progress.started("a");
    progress.print("a line");
    expect(written()).toBe("a line\n");
  });
});
