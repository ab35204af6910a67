// Gives compose.yaml to the programs that other people use to read it.
import { describe, expect } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { cachedDirectory } from "../../shared/runtime/cache.ts";
import { requiring } from "../support/requirements.ts";
import { ROOT } from "./stack.ts";

/** The loader of Docker Compose itself: the schema of the specification, and its further checks. */
const LOADER = "github.com/compose-spec/compose-go/v2/cmd@v2.16.2";
const INSTALL_DEADLINE_MS = 300_000;
const RUN_DEADLINE_MS = 120_000;

const missing = (program: string) =>
  Bun.which(program) === null ? `there is no \`${program}\` on the PATH` : undefined;
const loaderTest = requiring("Go, to build Compose's loader", missing("go"));
const oldComposeTest = requiring("docker-compose 1.29", missing("docker-compose"));

const text = await Bun.file(join(ROOT, "compose.yaml")).text();
const badKey = text.replace("    mem_limit: 2g", "    memory_limit: 2g");
const badVolume = text.replace(/\nvolumes:\n {2}kafka1:/, "\nvolumes:");

/** @returns its output, and whether it accepted the file */
async function run(command: string[], cwd = ROOT): Promise<{ accepted: boolean; output: string }> {
  const child = Bun.spawn(command, { cwd, stdio: ["ignore", "pipe", "pipe"] });
  const [output, errors] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { accepted: (await child.exited) === 0, output: `${output}${errors}` };
}

/** Runs `command` on a file with this text, in a directory that is like the repository's. */
async function onText(
  command: (file: string) => string[],
  content: string,
): Promise<{ accepted: boolean; output: string }> {
  const directory = await mkdtemp(join(tmpdir(), "event-pipeline-compose-"));
  try {
    await Bun.write(join(directory, "compose.yaml"), content);
    return await run(command("compose.yaml"), directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function loader(): Promise<string> {
  const name = `compose-loader-${LOADER.split("@").at(-1)}`;
  const directory = await cachedDirectory(name, async (empty) => {
    const install = Bun.spawn(["go", "install", LOADER], {
      cwd: dirname(empty),
      env: { ...process.env, GOBIN: empty },
      stdio: ["ignore", "ignore", "pipe"],
    });
    const complaint = await install.stderr.text();
    if ((await install.exited) !== 0) throw new Error(`go install ${LOADER} failed:\n${complaint}`);
  });
  return join(directory, "cmd");
}

describe("compose.yaml", () => {
  loaderTest(
    "is accepted by the Compose specification's own loader, which refuses an unknown key",
    async () => {
      const program = await loader();
      expect(await run([program, "compose.yaml"])).toMatchObject({ accepted: true });
      const refused = await onText((file) => [program, file], badKey);
      expect(refused.accepted).toBe(false);
      expect(refused.output).toContain("memory_limit");
    },
    INSTALL_DEADLINE_MS,
  );

  oldComposeTest(
    "is accepted by docker-compose 1.29 with every profile, which refuses a missing volume",
    async () => {
      const profiles = ["--profile", "app", "--profile", "tools"];
      const config = await run(["docker-compose", ...profiles, "config", "--services"]);
      expect(config.accepted).toBe(true);
      for (const name of ["kafka3", "producer", "consumer", "pgadmin"])
        expect(config.output).toContain(`${name}\n`);
      const refused = await onText((file) => ["docker-compose", "-f", file, "config"], badVolume);
      expect(refused.accepted).toBe(false);
      expect(refused.output).toContain("kafka1");
    },
    RUN_DEADLINE_MS,
  );
});
