// Fetches jars with Maven.
import { join } from "node:path";

export interface Dependency {
  /** `group:name:version` */
  readonly artifact: string;
  /** Artifacts that it would bring and must not: `group:name`, where the name may be `*`. */
  readonly without?: readonly string[];
}

/**
 * Copies jars, with all that they need at run time, into a directory.
 * @throws Error with Maven's output when it cannot fetch them
 */
export async function copyJars(directory: string, dependencies: readonly Dependency[]): Promise<void> {
  const pom = join(directory, "pom.xml");
  await Bun.write(pom, pomOf(dependencies));
  const maven = Bun.spawn(
    [
      "mvn",
      "--batch-mode",
      "--quiet",
      "--file",
      pom,
      "dependency:copy-dependencies",
      "-DincludeScope=runtime",
      `-DoutputDirectory=${directory}`,
    ],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  const [output, errors] = await Promise.all([maven.stdout.text(), maven.stderr.text()]);
  if ((await maven.exited) === 0) return;
  const names = dependencies.map(({ artifact }) => artifact).join(", ");
  throw new Error(`Maven could not fetch ${names}:\n${output}${errors}`.trim());
}

function pomOf(dependencies: readonly Dependency[]): string {
  return `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>test</groupId>
  <artifactId>jars</artifactId>
  <version>1</version>
  <dependencies>${dependencies.map(dependencyOf).join("")}
  </dependencies>
</project>
`;
}

function dependencyOf({ artifact, without = [] }: Dependency): string {
  const [group, name, version] = artifact.split(":");
  const exclusions = without.map((excluded) => {
    const [excludedGroup, excludedName] = excluded.split(":");
    return `<exclusion><groupId>${excludedGroup}</groupId><artifactId>${excludedName}</artifactId></exclusion>`;
  });
  return `
    <dependency>
      <groupId>${group}</groupId>
      <artifactId>${name}</artifactId>
      <version>${version}</version>
      <exclusions>${exclusions.join("")}</exclusions>
    </dependency>`;
}
