// Names of environment variables in; those that are set out, for a child process that shall see no others.

/** @returns the variables of this process among `names` */
export function inherited(...names: string[]): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const name of names) {
    const value = process.env[name];
    if (value !== undefined) environment[name] = value;
  }
  return environment;
}
