import { describe, expect, test } from "bun:test";
import { runSecretCommand } from "../../shared/runtime/secret-command.ts";
import { rejection } from "../support/rejection.ts";

describe("a command for a secret", () => {
  test("gives its output without the last newline", async () => {
    expect(await runSecretCommand("printf ' a b\\n\\n'")).toBe(" a b\n");
    expect(await runSecretCommand("echo one | tr o O")).toBe("One");
  });

  test.each([
    ["echo secret; echo 'no such token' >&2; exit 3", "ended with exit code 3: no such token"],
    ["echo secret; exit 1", "ended with exit code 1"],
    ["true", "printed nothing"],
    ["echo", "printed nothing"],
  ])("that fails is reported without its output: %s", async (command, message) => {
    expect((await rejection(runSecretCommand(command))).message).toBe(message);
  });

  test("is ended with all that it has started when it takes too long", async () => {
    // A child that lived on would hold the output open, and the call would not return.
    const error = await rejection(runSecretCommand("sleep 600 | cat; echo secret", 50));
    expect(error.message).toBe("has not ended within 0.05 s");
  });
});
