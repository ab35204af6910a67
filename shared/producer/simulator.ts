// Simulates user events, each as the JSON text of a record.

/** One simulated event: the record's key, its value, and its type for counting. */
export interface SimulatedEvent {
  readonly userId: string;
  readonly eventType: string;
  readonly json: string;
}

export interface SimulatorOptions {
  /** Users are user_1 to user_<userCount>. */
  readonly userCount: number;
  readonly minIntervalSeconds: number;
  readonly maxIntervalSeconds: number;
  /** Numbers in [0, 1). */
  readonly random?: () => number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** Part of every event id, so that ids of two simulators never collide; random by default. */
  readonly instance?: string;
}

export type SimulatedType = "page_view" | "click" | "search" | "purchase" | "login" | "logout";

/** Relative frequency of each type, here in percent: page views and clicks 70, purchases and logins 15, search 15. */
export const WEIGHTED_TYPES: readonly (readonly [SimulatedType, number])[] = [
  ["page_view", 45],
  ["click", 25],
  ["search", 15],
  ["purchase", 5],
  ["login", 5],
  ["logout", 5],
];
const TOTAL_WEIGHT = WEIGHTED_TYPES.reduce((sum, [, weight]) => sum + weight, 0);

const USER_AGENTS = [
  "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
  "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
  "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
  "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
  "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36",
] as const;
const PAGES = [
  "/page/home",
  "/page/products",
  "/page/cart",
  "/page/checkout",
  "/page/account",
  "/page/about",
] as const;
const REFERRERS = ["google.com", "bing.com", "facebook.com", "x.com", "newsletter", "direct"] as const;
const ELEMENTS = ["add_to_cart", "buy_now", "menu", "search_box", "footer_link", "banner"] as const;
const ELEMENT_TYPES = ["button", "link", "image", "input"] as const;
const CURRENCIES = ["USD", "EUR", "GBP"] as const;
const QUERIES = [
  "laptop",
  "running shoes",
  "coffee maker",
  "headphones",
  "winter jacket",
  "desk lamp",
] as const;
const AUTH_METHODS = ["password", "google", "github", "sso"] as const;

/**
 * Simulates users: which event comes next, and after what interval. Event ids have the form
 * `page_view_<ms>_<suffix>`. The suffix is ten characters of the simulator followed by its running number, so ids are
 * unique at any rate and across any number of producers.
 */
export class EventSimulator {
  readonly #options: Required<SimulatorOptions>;
  #sequence = 0;
  #timestampMs = Number.NaN;
  #timestamp = "";

  constructor(options: SimulatorOptions) {
    this.#options = { random: Math.random, now: Date.now, instance: randomInstance(), ...options };
  }

  /** The next event, with the current time. */
  next(): SimulatedEvent {
    const { now, userCount, instance } = this.#options;
    const ms = now();
    if (ms !== this.#timestampMs) {
      this.#timestampMs = ms;
      this.#timestamp = new Date(ms).toISOString();
    }
    const eventType = this.#type();
    const userId = `user_${this.#whole(1, userCount)}`;
    const json =
      `{"event_id":"${eventType}_${ms}_${instance}${(this.#sequence++).toString(36)}","user_id":"${userId}",` +
      `"event_type":"${eventType}","timestamp":"${this.#timestamp}",` +
      `"event_data":{"session_id":"session_${this.#whole(10_000, 99_999)}","ip_address":"${this.#address()}",` +
      `"user_agent":"${this.#one(USER_AGENTS)}",${this.#specifics[eventType]()}}${this.#duration(eventType)}}`;
    return { userId, eventType, json };
  }

  /** Seconds until the next event: exponential around the middle of [min, max], clamped to that range. */
  nextIntervalSeconds(): number {
    const { minIntervalSeconds: min, maxIntervalSeconds: max, random } = this.#options;
    const exponential = (-Math.log(1 - random()) * (min + max)) / 2;
    return Math.min(max, Math.max(min, exponential));
  }

  #type(): SimulatedType {
    let chance = this.#options.random() * TOTAL_WEIGHT;
    for (const [type, weight] of WEIGHTED_TYPES) {
      if (chance < weight) return type;
      chance -= weight;
    }
    return "page_view";
  }

  /** The part of event_data that is specific to a type. */
  readonly #specifics: Readonly<Record<SimulatedType, () => string>> = {
    page_view: () => `"page_url":"${this.#one(PAGES)}","referrer":"${this.#one(REFERRERS)}"`,
    click: () =>
      `"element_id":"${this.#one(ELEMENTS)}_${this.#whole(1, 50)}","element_type":"${this.#one(ELEMENT_TYPES)}"`,
    search: () => `"query":"${this.#one(QUERIES)}","results_count":${this.#whole(0, 500)}`,
    purchase: () =>
      `"order_id":"order_${this.#whole(100_000, 999_999)}","amount":${this.#whole(500, 50_000) / 100},` +
      `"currency":"${this.#one(CURRENCIES)}","item_count":${this.#whole(1, 10)}`,
    login: () => `"auth_method":"${this.#one(AUTH_METHODS)}"`,
    logout: () => `"auth_method":"${this.#one(AUTH_METHODS)}"`,
  };

  /** Page views and searches have a duration; the other events do not. */
  #duration(type: SimulatedType): string {
    if (type === "page_view") return `,"duration_seconds":${this.#whole(500, 300_000) / 1000}`;
    return type === "search" ? `,"duration_seconds":${this.#whole(100, 10_000) / 1000}` : "";
  }

  #address(): string {
    return `192.168.${this.#whole(0, 255)}.${this.#whole(1, 254)}`;
  }

  /** A whole number in [min, max]. */
  #whole(min: number, max: number): number {
    return min + Math.floor(this.#options.random() * (max - min + 1));
  }

  #one(choices: readonly string[]): string {
    return choices[Math.floor(this.#options.random() * choices.length)]!;
  }
}

/** Ten characters of a-z and 0-9, about 51 random bits. */
function randomInstance(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(10));
  return [...bytes].map((byte) => (byte % 36).toString(36)).join("");
}
