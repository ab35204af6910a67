// A server that this program started in; a watcher out that ends the server when this program ends, in whatever way.

/** What a guardian ends and clears away. */
export interface Guarded {
  readonly pid: number;
  /** How the server is asked to end; it is killed when it is still there some seconds later. */
  readonly signal: "QUIT" | "TERM" | "KILL";
  /** A directory to remove once the server has ended. */
  readonly directory?: string | undefined;
}

export interface Guardian {
  /** The server has ended, or is somebody else's now: the guardian goes, and touches nothing. */
  release(): void;
}

// The guardian reads from a pipe that only this program holds the other end of. No handler of ours has to
// run: the pipe closes on SIGKILL and on a crash as well. It ignores the signals that a terminal sends to all.
const SCRIPT = `trap '' INT TERM HUP QUIT
if read -r released; then exit 0; fi
kill -"$2" "$1" 2>/dev/null && kill -CONT "$1" 2>/dev/null
waited=0
while kill -0 "$1" 2>/dev/null && [ $waited -lt 80 ]; do sleep 0.1; waited=$((waited + 1)); done
kill -KILL "$1" 2>/dev/null
if [ -n "$3" ]; then rm -rf -- "$3"; fi`;

/** Watches over a child process until `release()` is called. */
export function guard({ pid, signal, directory }: Guarded): Guardian {
  const watcher = Bun.spawn(["sh", "-c", SCRIPT, "guardian", String(pid), signal, directory ?? ""], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
    cwd: "/",
  });
  watcher.unref();
  return {
    release() {
      void watcher.stdin.write("released\n");
      void watcher.stdin.end();
    },
  };
}
