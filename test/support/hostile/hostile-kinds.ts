// Lists all kinds of hostile records, in the order in which they are sent.
import { FOREIGN_FORMATS } from "./foreign-formats.ts";
import type { HostileKind } from "./hostile-kind.ts";
import { HOSTILE_MEMBERS } from "./hostile-members.ts";
import { HOSTILE_NUMBERS } from "./hostile-numbers.ts";
import { HOSTILE_SIZES } from "./hostile-sizes.ts";
import { HOSTILE_TEXT } from "./hostile-text.ts";
import { HOSTILE_TIMES } from "./hostile-times.ts";

/** Every kind, with what must become of it. A kind that repeats an id follows the kind whose id it repeats. */
export const HOSTILE_KINDS: readonly HostileKind[] = [
  ...FOREIGN_FORMATS,
  ...HOSTILE_TEXT,
  ...HOSTILE_MEMBERS,
  ...HOSTILE_NUMBERS,
  ...HOSTILE_TIMES,
  ...HOSTILE_SIZES,
];
