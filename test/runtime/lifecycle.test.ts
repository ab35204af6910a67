import { describe, expect, test } from "bun:test";
import { resolve } from "node:path";
import { Resources, StopSignal } from "../../shared/runtime/lifecycle.ts";

const LIFECYCLE = JSON.stringify(resolve(import.meta.dir, "../../shared/runtime/lifecycle.ts"));
const ERRORS = JSON.stringify(resolve(import.meta.dir, "../../shared/runtime/errors.ts"));

/** A program whose main has this body, run as a process of its own. */
function start(body: string) {
  const code = `
    import { Resources, runProgram } from ${LIFECYCLE};
    import { ConfigurationError, FatalError } from ${ERRORS};
    await runProgram(async (stop) => { ${body} });`;
  return Bun.spawn([process.execPath, "-e", code], { stdout: "pipe", stderr: "pipe" });
}

async function end(program: ReturnType<typeof start>) {
  const [stdout, stderr] = await Promise.all([program.stdout.text(), program.stderr.text()]);
  return { code: await program.exited, stdout, stderr };
}

/** Reads standard output until `text` was printed. */
async function printed(program: ReturnType<typeof start>, text: string): Promise<() => Promise<string>> {
  const reader = program.stdout.getReader();
  const decoder = new TextDecoder();
  let output = "";
  while (!output.includes(text)) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`it ended without printing ${text}: ${output}`);
    output += decoder.decode(value);
  }
  return async () => {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return output;
      output += decoder.decode(value);
    }
  };
}

describe("runProgram", () => {
  test("exits with what main returns, though something keeps the event loop busy", async () => {
    const { code } = await end(start("setInterval(() => {}, 1000); return 7;"));
    expect(code).toBe(7);
  });

  test("prints each problem of a configuration and exits with 2", async () => {
    const { code, stderr } = await end(start('throw new ConfigurationError(["first", "second"]);'));
    expect({ code, stderr }).toEqual({ code: 2, stderr: "first\nsecond\n" });
  });

  test("prints a fatal error as its sentence and exits with 1", async () => {
    const { code, stderr } = await end(start('throw new FatalError("no broker answers");'));
    expect({ code, stderr }).toEqual({ code: 1, stderr: "no broker answers\n" });
  });

  test("prints anything else with its stack and exits with 1", async () => {
    const { code, stderr } = await end(start('throw new TypeError("a bug");'));
    expect(code).toBe(1);
    expect(stderr).toContain("TypeError: a bug\n    at ");
  });

  test("ends at a rejection that nobody handles", async () => {
    const { code, stderr } = await end(
      start('void Promise.reject(new Error("forgotten")); await Bun.sleep(10_000); return 0;'),
    );
    expect(code).toBe(1);
    expect(stderr).toContain("forgotten");
  });

  test("lets the program say what it dies of, and no longer than its bound", async () => {
    const said = await end(
      start(`
        stop.onCrash = async (error) => { await Bun.sleep(50); console.log("dies of", error.message); };
        setTimeout(() => { throw new Error("a bug"); }, 1); await Bun.sleep(10_000); return 0;`),
    );
    expect(said).toMatchObject({ code: 1, stdout: "dies of a bug\n" });
    expect(said.stderr).toContain("Error: a bug\n    at ");
    const hanging = await end(
      start(`
        stop.onCrash = () => new Promise(() => {});
        void Promise.reject(new Error("forgotten")); await Bun.sleep(60_000); return 0;`),
    );
    expect(hanging.code).toBe(1);
    const failing = await end(
      start(`
        stop.onCrash = () => Promise.reject(new Error("worse"));
        void Promise.reject(new Error("forgotten")); await Bun.sleep(60_000); return 0;`),
    );
    expect(failing.code).toBe(1);
    expect(failing.stderr).toContain("forgotten");
  }, 30_000);

  test.each(["SIGINT", "SIGTERM"] as const)(
    "%s asks main to stop, and main decides the code",
    async (signal) => {
      const program = start(
        'console.log("up"); const reason = await stop.requested; console.log("drained", reason); return 3;',
      );
      const rest = await printed(program, "up");
      program.kill(signal);
      expect(await rest()).toContain(`drained ${signal}`);
      expect(await program.exited).toBe(3);
    },
  );

  test("the second signal forces exit code 1, though main still drains", async () => {
    const program = start(
      'console.log("up"); await stop.requested; console.log("draining"); await Bun.sleep(60_000); return 0;',
    );
    const rest = await printed(program, "up");
    program.kill("SIGINT");
    await Bun.sleep(200); // a second signal within 100 ms counts as the first
    program.kill("SIGTERM");
    expect(await rest()).toContain("draining");
    expect(await program.exited).toBe(1);
    expect(await program.stderr.text()).toContain("SIGTERM again");
  });

  test("a signal that npx hands on a moment later is the same one", async () => {
    const program = start(
      'console.log("up"); await stop.requested; console.log("draining"); await Bun.sleep(500); return 0;',
    );
    const rest = await printed(program, "up");
    program.kill("SIGINT");
    program.kill("SIGTERM"); // another one, since two of the same may arrive as one
    expect(await rest()).toContain("draining");
    expect(await program.exited).toBe(0);
  });
});

describe("StopSignal", () => {
  test("keeps its first reason", async () => {
    const stop = new StopSignal();
    expect(stop.isRequested).toBe(false);
    stop.request("one");
    stop.request("two");
    expect([stop.isRequested, stop.reason, await stop.requested]).toEqual([true, "one", "one"]);
  });

  test("orStopped gives the work's value, or undefined as soon as a stop is requested", async () => {
    const stop = new StopSignal();
    expect(await stop.orStopped(Promise.resolve(5))).toBe(5);
    const waiting = stop.orStopped(new Promise<number>(() => undefined));
    stop.request("enough");
    expect(await waiting).toBeUndefined();
    expect(await stop.orStopped(Promise.resolve(5))).toBeUndefined();
  });

  test("orStopped passes on a failure of the work", async () => {
    const failing = new StopSignal().orStopped(Promise.reject(new Error("broken")));
    expect(await failing.catch(String)).toBe("Error: broken");
  });
});

describe("Resources", () => {
  test("are released in reverse order, one after the other", async () => {
    const order: string[] = [];
    const resources = new Resources();
    for (const name of ["first", "second", "third"]) {
      resources.defer(name, 1000, async () => {
        order.push(`${name} begins`);
        await Bun.sleep(2);
        order.push(`${name} ends`);
      });
    }
    await resources.releaseAll();
    expect(order).toEqual([
      "third begins",
      "third ends",
      "second begins",
      "second ends",
      "first begins",
      "first ends",
    ]);
  });

  test("one that fails and one that is late are reported and stop nobody", async () => {
    const problems: string[] = [];
    const resources = new Resources((problem) => problems.push(problem));
    let released = false;
    resources.defer("good", 1000, () => {
      released = true;
    });
    resources.defer("late", 10, () => new Promise(() => undefined));
    resources.defer("broken", 1000, () => {
      throw new Error("no such thing");
    });
    await resources.releaseAll();
    expect(released).toBe(true);
    expect(problems).toEqual(["closing broken: no such thing", "closing late: not done after 10 ms"]);
  });

  test("are released once, also when asked twice at the same time, and with `await using`", async () => {
    let count = 0;
    {
      await using resources = new Resources();
      resources.defer("x", 1000, async () => {
        await Bun.sleep(2);
        count++;
      });
      await Promise.all([resources.releaseAll(), resources.releaseAll()]);
    }
    expect(count).toBe(1);
  });

  test("what is deferred during the release is released by it", async () => {
    const order: string[] = [];
    const resources = new Resources();
    resources.defer("outer", 1000, () => {
      order.push("outer");
      resources.defer("inner", 1000, () => {
        order.push("inner");
      });
    });
    await resources.releaseAll();
    expect(order).toEqual(["outer", "inner"]);
  });
});
