import { beforeEach, expect, test } from "bun:test";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { ensurePackages } from "../../shared/runtime/ensure-packages.ts";

const PACKAGES = resolve(import.meta.dir, "../../shared/runtime/ensure-packages.ts");

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
  return ensurePackages({
    root,
    say: (line) => said.push(line),
    install: () => {
      installs++;
      if (outcome.success) mkdirSync(join(root, "node_modules", "some-package"), { recursive: true });
      return outcome;
    },
  });
}

test("a fresh clone is installed once, with a line saying so", () => {
  expect(ensure()).toBe("installed");
  expect(ensure()).toBe("present");
  expect(installs).toBe(1);
  expect(said).toEqual(["installing packages (once)"]);
});

test("a changed bun.lock is installed again", () => {
  ensure();
  writeFileSync(join(root, "bun.lock"), "two");
  expect(ensure()).toBe("installed");
  expect(ensure()).toBe("present");
  expect(installs).toBe(2);
});

test("an installation that fails on an empty clone ends the program with its output", () => {
  expect(() => ensure({ success: false, output: "network is down" })).toThrow("network is down");
  expect(existsSync(join(root, "node_modules", ".install-lock"))).toBe(false);
});

test("packages that someone else put there stay in use when they cannot be compared", () => {
  mkdirSync(join(root, "node_modules", "some-package"), { recursive: true });
  expect(ensure({ success: false, output: "x\nnetwork is down\n" })).toBe("kept");
  expect(said.at(-1)).toContain("network is down");
});

test("a lock whose holder is gone is taken over", () => {
  const lock = join(root, "node_modules", ".install-lock");
  mkdirSync(lock, { recursive: true });
  const gone = Bun.spawnSync([process.execPath, "-e", "console.log(process.pid)"]).stdout.toString().trim();
  writeFileSync(join(lock, "pid"), gone);
  expect(ensure()).toBe("installed");
});

test("processes that start at once install once", async () => {
  const script = join(root, "start.ts");
  const log = join(root, "installs.log");
  writeFileSync(
    script,
    `import { appendFileSync } from "node:fs";
     import { ensurePackages } from ${JSON.stringify(PACKAGES)};
     const result = ensurePackages({
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

test("worker threads look at nothing, the main thread does", async () => {
  const copy = join(root, "shared/runtime/ensure-packages.ts");
  mkdirSync(join(root, "shared/runtime"), { recursive: true });
  copyFileSync(PACKAGES, copy);
  const worker = new Worker(copy);
  const { promise: closed, resolve: onClose } = Promise.withResolvers<unknown>();
  worker.addEventListener("close", onClose);
  await closed;
  expect(existsSync(join(root, "node_modules"))).toBe(false);
  // There is no package.json to install from, so it can only fail; but it did look.
  expect(Bun.spawnSync([process.execPath, copy], { cwd: root }).exitCode).toBe(1);
  expect(existsSync(join(root, "node_modules"))).toBe(true);
});

test("the first start of a program finds the packages, in its threads as well, and hands on signals and exit code", async () => {
  const repository = resolve(import.meta.dir, "../..");
  for (const name of ["package.json", "bun.lock", "bunfig.toml", "shared/runtime/ensure-packages.ts"]) {
    await Bun.write(join(root, name), Bun.file(join(repository, name)));
  }
  await Bun.write(
    join(root, "workers/main.ts"),
    `import "pino";
     process.on("SIGTERM", () => process.exit(7));
     const thread = new Worker(new URL("./thread.ts", import.meta.url).href);
     thread.addEventListener("message", ({ data }) => console.log(data, ...process.argv.slice(2)));
     thread.addEventListener("error", ({ message }) => process.exit(console.log(message)));`,
  );
  await Bun.write(join(root, "workers/consumer/worker-thread.ts"), `import "pino"; postMessage("found by");`);
  const run = Bun.spawn([process.execPath, "workers/main.ts", "both"], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const printed = await run.stdout.getReader().read();
  expect(new TextDecoder().decode(printed.value)).toBe("found by both\n");
  run.kill("SIGTERM");
  expect(await run.exited).toBe(7);
}, 60_000);
