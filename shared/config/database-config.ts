// Describes and reads the configuration of the connections to PostgreSQL.
import { Type } from "typebox";
import { addProblem, readSection, type SectionSource, type SectionValues } from "./section.ts";

/** Connections that the consumer's main thread may hold; each worker has one. */
export const MAIN_CONNECTIONS = 2;

const NAME = { pattern: /^.{1,63}$/, allowed: "1 to 63 characters" };

export const DATABASE_SECTION = Type.Object({
  /** A host name, an address, or the folder of a Unix socket. */
  host: Type.String({
    variable: "DB_HOST",
    default: "localhost",
    pattern: /^\S+$/,
    allowed: "a host name, an address, or the folder of a Unix socket",
  }),
  port: Type.Integer({ variable: "DB_PORT", default: 5432, minimum: 1, maximum: 65_535 }),
  name: Type.String({ variable: "DB_NAME", default: "data_pipeline", ...NAME }),
  user: Type.String({ variable: "DB_USER", default: "pipeline_user", ...NAME }),
  password: Type.String({ variable: "DB_PASSWORD", default: "pipeline_password", isSecret: true }),
  sslMode: Type.Enum(["disable", "allow", "prefer", "require", "verify-ca", "verify-full"], {
    variable: "DB_SSLMODE",
    default: "prefer",
  }),
  minConnections: Type.Integer({ variable: "DB_MIN_CONNECTIONS", default: 2, minimum: 1, maximum: 1000 }),
  maxConnections: Type.Integer({
    variable: "DB_MAX_CONNECTIONS",
    default: 10,
    minimum: MAIN_CONNECTIONS + 1,
    maximum: 1000,
  }),
});

export type DatabaseConfig = SectionValues<typeof DATABASE_SECTION.properties>;

export function readDatabaseConfig(source: SectionSource): DatabaseConfig {
  const values = readSection(DATABASE_SECTION, source);
  const { minConnections, maxConnections } = values;
  if (minConnections > maxConnections) {
    const problem = `is above DB_MAX_CONNECTIONS=${maxConnections}`;
    addProblem(source.problems, "DB_MIN_CONNECTIONS", minConnections, problem);
  }
  return values;
}
