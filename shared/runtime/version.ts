// The version of this program, as package.json says it.
import { version } from "../../package.json";

export const PROGRAM_VERSION: string = version;
