// Describes and reads the configuration of the connections to PostgreSQL.
import { isIPv6 } from "node:net";
import { Type } from "typebox";
import { readText } from "./environment.ts";
import { addProblem, readSection, type SectionSource, type SectionValues } from "./section.ts";
import { choice, command, integer, path, text } from "./setting.ts";

/** Connections that the consumer's main thread may hold; each worker has one. */
export const MAIN_CONNECTIONS = 2;

const SSL_MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] as const;
export type SslMode = (typeof SSL_MODES)[number];

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
  /** Its output is the password; run again for each connection. */
  passwordCommand: command("DB_PASSWORD_COMMAND"),
  sslMode: choice("DB_SSLMODE", SSL_MODES, "prefer"),
  /** PEM files, read again for each connection: the authorities to trust, our certificate, and its key. */
  sslRootCert: path("DB_SSLROOTCERT"),
  sslCert: path("DB_SSLCERT"),
  sslKey: path("DB_SSLKEY"),
  minConnections: integer("DB_MIN_CONNECTIONS", [1, 1000], 2),
  maxConnections: integer("DB_MAX_CONNECTIONS", [MAIN_CONNECTIONS + 1, 1000], 10),
});

/** Without the port, the list and the URL that other programs take there. */
function isHost(host: string): boolean {
  return host.startsWith("/") ? !/\s/.test(host) : isIPv6(host) || /^[^\s,:/@[\]?#]+$/.test(host);
}

type DatabaseValues = SectionValues<typeof DATABASE_SECTION.properties>;
type OptionalFile = "passwordCommand" | "sslRootCert" | "sslCert" | "sslKey";

export interface DatabaseConfig
  extends Omit<DatabaseValues, OptionalFile>,
    Partial<Pick<DatabaseValues, OptionalFile>> {
  /** The file that has the password; read again for each connection, so that the password may change. */
  readonly passwordFile?: string;
}

export function readDatabaseConfig(source: SectionSource): DatabaseConfig {
  const { environment, problems } = source;
  const values = readSection(DATABASE_SECTION, source);
  const { minConnections, maxConnections } = values;
  if (minConnections > maxConnections) {
    const problem = `is above DB_MAX_CONNECTIONS=${maxConnections}`;
    addProblem(problems, "DB_MIN_CONNECTIONS", minConnections, problem);
  }
  addTlsProblems(values, problems);
  const passwordFile = readText(environment, "DB_PASSWORD_FILE");
  const others = [
    ...(environment["DB_PASSWORD"] ? ["DB_PASSWORD"] : []),
    ...(passwordFile === "" ? [] : ["DB_PASSWORD_FILE"]),
  ];
  if (values.passwordCommand !== undefined && others.length > 0)
    problems.push(`DB_PASSWORD_COMMAND and ${others.join(" and ")} are both set: leave one of them out`);
  return passwordFile === "" ? values : { ...values, passwordFile };
}

/** A file that would not be used is a mistake: its owner believes that certificates are verified. */
function addTlsProblems({ sslMode, sslRootCert, sslCert, sslKey }: DatabaseValues, problems: string[]): void {
  if (sslRootCert !== undefined && !verifies(sslMode)) {
    const problem = `is not used with DB_SSLMODE=${sslMode}; set DB_SSLMODE to verify-full, or to verify-ca`;
    addProblem(problems, "DB_SSLROOTCERT", sslRootCert, problem);
  }
  if ((sslCert === undefined) !== (sslKey === undefined)) {
    const [set, missing] = sslKey === undefined ? ["DB_SSLCERT", "DB_SSLKEY"] : ["DB_SSLKEY", "DB_SSLCERT"];
    addProblem(problems, set, sslCert ?? sslKey, `needs ${missing} as well`);
  }
  if (sslCert !== undefined && sslMode === "disable")
    addProblem(problems, "DB_SSLCERT", sslCert, "is not used with DB_SSLMODE=disable");
}

/** Whether the mode makes sure of the server that gets the password. */
function verifies(mode: SslMode): boolean {
  return mode === "verify-ca" || mode === "verify-full";
}

/** The warning about a password that goes to any server that answers; "disable" was chosen, and no attacker is needed there. */
export function unverifiedServer({ host, port, sslMode }: DatabaseConfig): string[] {
  if (verifies(sslMode) || sslMode === "disable" || isThisMachine(host)) return [];
  return [
    `DB_SSLMODE=${sslMode} verifies no certificate, so any server that answers at ${host}:${port} gets the password: set DB_SSLMODE=verify-full (with DB_SSLROOTCERT for a private authority), or disable for a network that you trust`,
  ];
}

function isThisMachine(host: string): boolean {
  return host.startsWith("/") || /^(localhost|127\.[\d.]+|::1)$/i.test(host);
}
