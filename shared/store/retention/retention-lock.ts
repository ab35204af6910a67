// Names the advisory lock that keeps hours from being sealed and pruned.

/** An arbitrary number, the same in every version. A step of the retention holds it, and a rebuild while it runs. */
export const RETENTION_LOCK = 7_061_907;
