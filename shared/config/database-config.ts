// Describes and reads the configuration of the connections to PostgreSQL.
import { isIPv6 } from "node:net";
import { Type } from "typebox";
import { readText } from "./environment.ts";
import { addProblem, readSection, type SectionSource, type SectionValues } from "./section.ts";
import { choice, integer, text } from "./setting.ts";

/** Connections that the consumer's main thread may hold; each worker has one. */
export const MAIN_CONNECTIONS = 2;

const SSL_MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] as const;

export const DATABASE_SECTION = Type.Object({
  /** A host name, an address, or the folder of a Unix socket. */
  host: text(
    "DB_HOST",
    "localhost",
    isHost,
    "one host name or address, or the folder of a Unix socket; the port goes into DB_PORT, and the other parts of a URL into DB_NAME, DB_USER and DB_PASSWORD",
  ),
  port: integer("DB_PORT", [1, 65_535], 5432),
  name: text("DB_NAME", "data_pipeline", /^.{1,63}$/, "1 to 63 characters"),
  user: text("DB_USER", "pipeline_user", /^.{1,63}$/, "1 to 63 characters"),
  password: text("DB_PASSWORD", "pipeline_password", /^/, "any text", { isSecret: true }),
  sslMode: choice("DB_SSLMODE", SSL_MODES, "prefer"),
  minConnections: integer("DB_MIN_CONNECTIONS", [1, 1000], 2),
  maxConnections: integer("DB_MAX_CONNECTIONS", [MAIN_CONNECTIONS + 1, 1000], 10),
});

/** Without the port, the list and the URL that other programs take there. */
function isHost(host: string): boolean {
  return host.startsWith("/") ? !/\s/.test(host) : isIPv6(host) || /^[^\s,:/@[\]?#]+$/.test(host);
}

export interface DatabaseConfig extends SectionValues<typeof DATABASE_SECTION.properties> {
  /** The file that has the password; read anew for each connection, so that the password may change. */
  readonly passwordFile?: string;
}

export function readDatabaseConfig(source: SectionSource): DatabaseConfig {
  const values = readSection(DATABASE_SECTION, source);
  const { minConnections, maxConnections } = values;
  if (minConnections > maxConnections) {
    const problem = `is above DB_MAX_CONNECTIONS=${maxConnections}`;
    addProblem(source.problems, "DB_MIN_CONNECTIONS", minConnections, problem);
  }
  const passwordFile = readText(source.environment, "DB_PASSWORD_FILE");
  return passwordFile === "" ? values : { ...values, passwordFile };
}
