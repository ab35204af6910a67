// Declares what a fault of a history is.

import type { World } from "./world.ts";

/** Does its harm at once. @returns what ends it; undefined where nothing has to, or there was nothing to harm */
export type Fault = (world: World) => (() => void) | undefined;
