import { expect, test } from "bun:test";
import { rejection } from "./rejection.ts";

test("rejection returns the error of a promise that fails", async () => {
  const error = new TypeError("planned");
  expect(await rejection(Promise.reject(error))).toBe(error);
});

test("rejection fails for a promise that does not fail, and for one that fails without an Error", async () => {
  const fulfilled = await rejection(rejection(Promise.resolve({ answer: 42 })));
  expect(fulfilled.message).toStartWith("expected a rejection, and got {");
  // eslint-disable-next-line typescript/prefer-promise-reject-errors
  const text = await rejection(rejection(Promise.reject("a text")));
  expect(text.message).toBe("rejected with a value that is not an Error: a text");
});
