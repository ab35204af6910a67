// Reads the numbered files of sql/.

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { FatalError } from "../runtime/errors.ts";

const SQL_FOLDER = join(import.meta.dir, "../../sql");
const FILE_NAME = /^(\d{3})_[a-z0-9_]+\.sql$/;
const COMPATIBLE_WITH = /^-- compatible with (.*)$/m;

/** One file of sql/. */
export interface Migration {
  readonly version: number;
  readonly name: string;
  /** With \n as its line ends. */
  readonly text: string;
  /** SHA-256 of the text, hex. */
  readonly checksum: string;
  /**
   * Programs that know the files up to this number can work with the tables; undefined: only those that know this file.
   * A line such as `-- compatible with 005` says it.
   */
  readonly compatibleWith?: number | undefined;
}

/**
 * Reads the numbered files of a folder, in order.
 * @throws FatalError on a name or number out of sequence, and on a file that is compatible with no earlier one
 */
export async function readMigrations(folder = SQL_FOLDER): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".sql")).toSorted();
  return await Promise.all(
    names.map(async (name, index) => {
      const version = Number(FILE_NAME.exec(name)?.[1]);
      if (version !== index + 1) {
        throw new FatalError(
          `sql/${name}: expected a name that begins with ${String(index + 1).padStart(3, "0")}_`,
        );
      }
      const text = (await Bun.file(join(folder, name)).text()).replaceAll("\r\n", "\n");
      return { version, name, text, checksum: checksumOf(text), compatibleWith: compatibleWith(name, text) };
    }),
  );
}

function compatibleWith(name: string, text: string): number | undefined {
  const number = COMPATIBLE_WITH.exec(text)?.[1];
  if (number === undefined) return undefined;
  if (/^\d{3}$/.test(number) && number < name.slice(0, 3)) return Number(number);
  throw new FatalError(
    `sql/${name}: "compatible with ${number}" must name an earlier file by its three digits`,
  );
}

/** SHA-256, hex. */
export function checksumOf(text: string): string {
  return new Bun.CryptoHasher("sha256").update(text).digest("hex");
}
