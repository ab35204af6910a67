// Loads a configuration and returns the problems that it reports.
import { loadConfig, type ProgramRole } from "../../shared/config/config.ts";
import { ConfigurationError } from "../../shared/runtime/errors.ts";

/** @returns nothing where the configuration is right */
export function problemsOf(
  environment: Readonly<Record<string, string>>,
  role: ProgramRole = "consumer",
): readonly string[] {
  try {
    loadConfig(environment, role);
    return [];
  } catch (error) {
    if (error instanceof ConfigurationError) return error.problems;
    throw error;
  }
}
