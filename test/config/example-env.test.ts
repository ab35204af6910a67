import { describe, expect, test } from "bun:test";
import { cpSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { loadConfig, VARIABLES } from "../../shared/config/config.ts";

const EXAMPLE = resolve(import.meta.dir, "../../config.example.env");
const lines = (await Bun.file(EXAMPLE).text()).split("\n");

const assignments = lines
  .filter((line) => /^[A-Z]/.test(line))
  .map((line) => {
    const [name = "", ...value] = line.split("=");
    return [name, value.join("=")] as const;
  });

describe("config.example.env", () => {
  test("assigns every variable once", () => {
    expect(assignments.map(([name]) => name).toSorted()).toEqual(Object.keys(VARIABLES).toSorted());
  });

  test.each(assignments)("gives the default of %s, %p", (name, value) => {
    // An empty value means the default, so it shows the default only where that is empty too.
    expect(value === "").toBe(VARIABLES[name] === "");
    expect(loadConfig({ [name]: value }, "consumer", 4)).toEqual(loadConfig({}, "consumer", 4));
  });

  test("contains nothing but assignments, comments and blank lines", () => {
    expect(lines.filter((line) => !/^([A-Z_]+=\S*|#.*|)$/.test(line))).toEqual([]);
  });

  test("shows KAFKA_CONFIG_* variables that are accepted as they are", () => {
    const shown = lines
      .map((line) => /^# (KAFKA_CONFIG_[A-Z_]+)=(.*)$/.exec(line))
      .filter((match) => match !== null);
    expect(shown.length).toBeGreaterThan(2);
    const environment = Object.fromEntries(shown.map(([, name = "", value = ""]) => [name, value]));
    const { kafka } = loadConfig({ ...environment, KAFKA_CONFIG_SASL_PASSWORD_FILE: EXAMPLE }, "consumer");
    expect(Object.keys(kafka.passThrough)).toHaveLength(shown.length);
  });

  test("changes nothing when it is copied to .env and Bun reads it", async () => {
    const folder = mkdtempSync(join(tmpdir(), "pipeline-env-"));
    cpSync(EXAMPLE, join(folder, ".env"));
    const script = join(folder, "print.ts");
    const config = resolve(import.meta.dir, "../../shared/config/config.ts");
    await Bun.write(
      script,
      `import { loadConfig } from ${JSON.stringify(config)};
     console.log(JSON.stringify(loadConfig(process.env, "consumer", 4)));`,
    );
    const run = Bun.spawnSync([process.execPath, script], {
      cwd: folder,
      env: { PATH: process.env["PATH"] },
    });
    expect(run.stderr.toString()).toBe("");
    expect(JSON.parse(run.stdout.toString())).toEqual(
      JSON.parse(JSON.stringify(loadConfig({}, "consumer", 4))),
    );
  });
});
