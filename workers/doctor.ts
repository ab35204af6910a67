// Tries everything that the programs need, and says what to do: `bun run doctor [--json]`.
import { loadConfig } from "../shared/config/config.ts";
import { unverifiedServer } from "../shared/config/database-config.ts";
import { runProgram } from "../shared/runtime/run-program.ts";
import { type Finding, formatFindings } from "./doctor/finding.ts";
import { probeKafka } from "./doctor/kafka-probes.ts";
import { probeLibrary } from "./doctor/library-probes.ts";
import { probePostgres } from "./doctor/postgres-probes.ts";

const USAGE = `Usage: bun run doctor [--json] [--help]

Tries what the pipeline needs, step by step: librdkafka and its codecs; Kafka's addresses, login, topics with their
ids, rights and settings; PostgreSQL's address, login, TLS, session, tables and rights. One line each, with ok or what
to do. It creates no topic and no table. Configured by environment variables (see config.example.env).

  --json  prints one JSON object: {"ok", "probes": [{"name", "result", "detail"}]}, where result is ok, warning,
          failed or skipped

Exit code: 0 nothing failed, 1 a probe failed, 2 wrong configuration or usage.
`;

await runProgram({ usage: USAGE, options: { json: { type: "boolean" } } }, async (stop, options) => {
  const config = loadConfig(process.env, "doctor");
  const say = (line: string): boolean => process.stderr.write(`${line}\n`);
  // A probe says it.
  const said = unverifiedServer(config.database);
  for (const line of config.warnings) if (!said.includes(line)) say(line);
  const findings = await stop.orStopped(examine());
  if (findings === undefined) return 1;
  const isWell = findings.every(({ result }) => result !== "failed");
  const report = options.json
    ? `${JSON.stringify({ ok: isWell, probes: findings })}\n`
    : formatFindings(findings);
  await Bun.write(Bun.stdout, report);
  return isWell ? 0 : 1;

  async function examine(): Promise<Finding[]> {
    const postgres = probePostgres(config);
    const library = await probeLibrary(say);
    const hasLibrary = library[0]?.result === "ok";
    return [...library, ...(await probeKafka(config.kafka, hasLibrary)), ...(await postgres)];
  }
});
