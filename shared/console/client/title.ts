// Keeps the title of the page's tab in step with the program's state.
import { useEffect } from "hono/jsx";
import type { Status } from "../../api-schema.ts";
import type { Connection } from "./stream.ts";

export function useTitle(program: string, status: Status | undefined, connection: Connection): void {
  const title =
    connection.kind === "lost"
      ? `connection lost: ${program}`
      : `${status?.headline ?? "connecting"}: ${program}`;
  useEffect(() => {
    document.title = title;
  }, [title]);
}
