// Stops the programs while they prepare librdkafka, which may take half a minute.
import { expect, test } from "bun:test";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "../support/eventually.ts";
import { Program } from "../support/process.ts";

/** A compiler that never comes to an end, but with the program that calls it. */
const COMPILER = `#!/bin/sh
touch "$0.called"
while kill -0 $PPID; do sleep 0.1; done
`;

test.each(["consumer", "producer"])(
  "a %s that prepares librdkafka ends at once when it is stopped",
  async (name) => {
    const directory = await mkdtemp(join(tmpdir(), "stop-during-setup-"));
    try {
      const compiler = join(directory, "gcc");
      await Bun.write(compiler, COMPILER);
      await chmod(compiler, 0o755);
      await using program = Program.start(`workers/${name}.ts`, {
        env: {
          PATH: `${directory}:${process.env["PATH"] ?? ""}`,
          XDG_CACHE_HOME: directory,
          [`METRICS_PORT_${name.toUpperCase()}`]: "0",
          HTTP_HOST: "127.0.0.1",
        },
      });
      await eventually("the compiler is called", () => Bun.file(`${compiler}.called`).exists(), {
        timeoutMs: 60_000,
      });
      program.signal("SIGTERM");
      expect(await program.exit(20_000)).toBe(0);
      expect(program.stderr).toBe("");
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  },
);
