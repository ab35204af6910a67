// Defines the parts of a result that several scenarios have: CPU time in microseconds per event, memory in MiB.
import { type Static, Type } from "typebox";

export const Rate = Type.Number({ exclusiveMinimum: 0 });
export const Cost = Type.Number({ minimum: 0 });
export const Count = Type.Integer({ minimum: 0 });
/** For objects without other properties. */
export const closed = { additionalProperties: false };

export const costs = {
  clientCpuMicrosPerEvent: Cost,
  postgresCpuMicrosPerEvent: Cost,
  brokerCpuMicrosPerEvent: Cost,
  /** The peak of the consumer. */
  rssMiB: Rate,
};

export const ConsumerRoundShape = Type.Object({ eventsPerSecond: Rate, ...costs }, closed);

export const CopyRoundShape = Type.Object(
  { eventsPerSecond: Rate, clientCpuMicrosPerEvent: Cost, postgresCpuMicrosPerEvent: Cost },
  closed,
);

export type ConsumerRound = Static<typeof ConsumerRoundShape>;
export type CopyRound = Static<typeof CopyRoundShape>;
