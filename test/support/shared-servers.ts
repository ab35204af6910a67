// Starts the servers that all test files of a run share, each when the first test asks for it.
import { rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EmbeddedPostgres } from "../../shared/store/embedded-postgres.ts";
import { KafkaCluster } from "./kafka.ts";
import type { PostgresAddress } from "./postgres.ts";
import { poolRoute, type Route, startServer } from "./postgres-variant.ts";

/** Where test files, which are separate processes, find the servers of the run. */
const ADDRESS_VARIABLE = "TEST_SERVERS";
const START_DEADLINE_MS = 120_000;

interface Addresses {
  kafka: { bootstrapServers: string };
  postgres: { address: PostgresAddress; route: Route };
}

/** Held by test/run.ts, or by the test file's process where `bun test` runs the file directly. */
export class SharedServers {
  #kafka: Promise<KafkaCluster> | undefined;
  #postgres: Promise<{ server: EmbeddedPostgres; route: Route }> | undefined;
  readonly #http: Bun.Server<undefined>;

  constructor() {
    this.#http = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      idleTimeout: 120,
      routes: {
        "/kafka": async () => Response.json(await this.kafka()),
        "/postgres": async () => Response.json(await this.postgres()),
      },
      error: (error) => new Response(error.message, { status: 500 }),
    });
  }

  /** The environment variables that the processes of the test files need. */
  get env(): Record<string, string> {
    return { [ADDRESS_VARIABLE]: this.#http.url.href };
  }

  async kafka(): Promise<Addresses["kafka"]> {
    this.#kafka ??= KafkaCluster.start();
    const { bootstrapServers } = await this.#kafka;
    return { bootstrapServers };
  }

  async postgres(): Promise<Addresses["postgres"]> {
    this.#postgres ??= startServer().then(async ({ server, route }) => ({
      server,
      route: await poolRoute(server, route),
    }));
    const { server, route } = await this.#postgres;
    const { host, port, user, password } = server;
    return { address: { host, port, user, password }, route };
  }

  /** Ends the servers. @returns where the databases of a failed run are kept, if there are any */
  async stop(how: "remove databases" | "keep databases"): Promise<string | undefined> {
    await this.#http.stop(true);
    await (await this.#kafka)?.stop();
    const postgres = (await this.#postgres)?.server;
    if (postgres === undefined) return undefined;
    if (how === "remove databases") {
      await postgres[Symbol.asyncDispose]();
      return undefined;
    }
    await postgres.stop("fast");
    // One place, so that failed runs do not fill the disk.
    const kept = join(tmpdir(), "event-pipeline-failed-tests");
    try {
      await rm(kept, { recursive: true, force: true });
      await rename(postgres.directory, kept);
      return kept;
    } catch {
      // Another run that failed at the same time has taken the place.
      await postgres[Symbol.asyncDispose]();
      return undefined;
    }
  }
}

let own: SharedServers | undefined;

/** For a test file that `bun test` runs directly: its servers end with its process. */
function ownServers(): SharedServers {
  own ??= new SharedServers();
  return own;
}

/** The address of a shared server, which starts if it has not started yet. */
export async function sharedServer<Name extends keyof Addresses>(name: Name): Promise<Addresses[Name]> {
  const url = process.env[ADDRESS_VARIABLE] ?? ownServers().env[ADDRESS_VARIABLE]!;
  const answer = await fetch(new URL(name, url), { signal: AbortSignal.timeout(START_DEADLINE_MS) });
  if (!answer.ok) throw new Error(`the shared server did not start: ${await answer.text()}`);
  const address: Addresses[Name] = JSON.parse(await answer.text());
  return address;
}
