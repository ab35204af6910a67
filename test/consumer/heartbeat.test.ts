import { expect, test } from "bun:test";
import { Heartbeat, HUNG_SECONDS, SILENT_SECONDS, TICK_MS } from "../../workers/consumer/heartbeat.ts";

/** @returns whether the thread counts as hung after the last tick */
function pass(heartbeat: Heartbeat, seconds: number): boolean {
  let isHung = false;
  for (let ms = TICK_MS; ms <= seconds * 1000; ms += TICK_MS) isHung = heartbeat.tick();
  return isHung;
}

test("a thread is silent and then hung when it has not been heard for so many seconds", () => {
  const heartbeat = new Heartbeat();
  expect(pass(heartbeat, SILENT_SECONDS - 1)).toBe(false);
  expect(heartbeat.isSilent).toBe(false);
  pass(heartbeat, 1);
  expect(heartbeat.isSilent).toBe(true);
  expect(pass(heartbeat, HUNG_SECONDS - SILENT_SECONDS - 1)).toBe(false);
  expect(pass(heartbeat, 1)).toBe(true);
});

test("a thread that is heard again is neither silent nor hung", () => {
  const heartbeat = new Heartbeat();
  pass(heartbeat, HUNG_SECONDS - 1);
  heartbeat.heard();
  expect(heartbeat.isSilent).toBe(false);
  expect(pass(heartbeat, HUNG_SECONDS - 1)).toBe(false);
});
