// Faults of the connections between the consumers and PostgreSQL.
import type { Fault } from "../fault.ts";
import { BY_BACKOFF } from "../resync-evidence.ts";
import type { Link } from "../tcp-proxy.ts";

const SLOW_SECONDS = 8;

function slow(name: string, about: string, link: Link): Fault {
  return {
    name,
    about,
    parts: ["network"],
    ruledBy: "nothing: the flow goes on, slower",
    seconds: SLOW_SECONDS,
    inject: async ({ cluster: { proxy } }) => {
      const before = proxy.bytesDelayed;
      proxy.link = link;
      return {
        holdMs: SLOW_SECONDS * 1000,
        hasBitten: async () => {
          const delayed = proxy.bytesDelayed - before;
          return delayed > 20_000 ? `${delayed} bytes were delayed` : undefined;
        },
        heal: async () => proxy.heal(),
      };
    },
  };
}

export const NETWORK_FAULTS: readonly Fault[] = [
  {
    name: "commit-answer-cut",
    about: "connections break between COMMIT and its answer, or just before COMMIT",
    parts: ["network"],
    ruledBy: BY_BACKOFF,
    seconds: 6,
    inject: async ({ cluster: { proxy }, choices }) => {
      const before = proxy.commitsCut;
      const kinds = Array.from({ length: 50 }, () => choices.one(["after COMMIT", "before COMMIT"] as const));
      const timer = setInterval(() => (proxy.cutCommit = kinds[proxy.commitsCut % kinds.length]), 400);
      return {
        holdMs: 5000,
        hasBitten: async () => {
          const cut = proxy.commitsCut - before;
          return cut > 2 ? `${cut} transactions cut` : undefined;
        },
        heal: async () => {
          clearInterval(timer);
          proxy.heal();
        },
      };
    },
  },
  {
    name: "connections-cut",
    about: "all connections to PostgreSQL break at once",
    parts: ["network"],
    ruledBy: BY_BACKOFF,
    seconds: 1,
    inject: async ({ cluster: { proxy } }) => {
      await proxy.connected();
      const cut = proxy.cutAll();
      return {
        holdMs: 0,
        hasBitten: async () => (cut > 0 ? `${cut} connections cut` : undefined),
        heal: async () => {},
      };
    },
  },
  {
    name: "half-open",
    about: "open connections to PostgreSQL fall silent without being closed; new ones work",
    parts: ["network"],
    ruledBy: "idle_in_transaction_session_timeout 10 s, deadline of a transaction 30 s",
    seconds: 36,
    inject: async ({ cluster: { proxy } }) => {
      await proxy.connected();
      const before = proxy.bytesDropped;
      const end = proxy.silenceAll();
      return {
        // Longer than the clients' own deadline: they have to find out for themselves.
        holdMs: 35_000,
        hasBitten: async () => {
          const dropped = proxy.bytesDropped - before;
          return dropped > 0 ? `${dropped} bytes went nowhere` : undefined;
        },
        heal: async () => end(),
      };
    },
  },
  slow("link-50ms", "50 ms each way between the consumers and PostgreSQL", {
    delayMs: 50,
    bytesPerSecond: Infinity,
  }),
  slow("link-1mbit", "each connection to PostgreSQL carries 1 Mbit/s", {
    delayMs: 0,
    bytesPerSecond: 125_000,
  }),
];
