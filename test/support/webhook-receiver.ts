// Receives alerts as an operator's webhook receiver does, and keeps them.
import type { WebhookMessage } from "../../shared/alerts/webhook-message.ts";

export class WebhookReceiver implements AsyncDisposable {
  readonly messages: WebhookMessage[] = [];
  readonly contentTypes: (string | null)[] = [];
  readonly port: number;
  readonly #server: Bun.Server<undefined>;

  /**
   * @param answer to the n-th message, from 1
   * @param port 0 = any free port
   */
  constructor(answer: (n: number) => Response | Promise<Response> = () => new Response("ok"), port = 0) {
    this.#server = Bun.serve({
      port,
      hostname: "127.0.0.1",
      fetch: async (request) => {
        this.contentTypes.push(request.headers.get("content-type"));
        this.messages.push((await request.json()) as WebhookMessage);
        return await answer(this.messages.length);
      },
    });
    this.port = this.#server.port!;
  }

  summaries(): (string | undefined)[] {
    return this.messages.map(({ commonAnnotations }) => commonAnnotations["summary"]);
  }

  /** `firing high_consumer_lag`, in the order in which they came. */
  edges(): string[] {
    return this.messages.map(({ status, commonLabels }) => `${status} ${commonLabels["alertname"]}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(true);
  }
}
