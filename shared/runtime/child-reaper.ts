// A server or directory of this program's own in; a watcher out that clears it away when the program ends, in whatever way.

export interface Reaper {
  /** What it watched over has ended, or is somebody else's now: the guardian goes, and touches nothing. */
  release(): void;
}

// A guardian reads from a pipe that only this program holds the other end of. No handler of ours has to
// run: the pipe closes on SIGKILL and on a crash as well. It ignores the signals that a terminal sends to all.
const WATCH = `trap '' INT TERM HUP QUIT
if read -r released; then exit 0; fi
`;

// A zombie has ended; whoever has to reap it may take long.
const END_PROCESS = `${WATCH}
kill -"$2" "$1" 2>/dev/null && kill -CONT "$1" 2>/dev/null
waited=0
while kill -0 "$1" 2>/dev/null && [ $waited -lt 80 ]; do
  case "$(cat "/proc/$1/stat" 2>/dev/null)" in *') Z '*) exit 0 ;; esac
  sleep 0.1; waited=$((waited + 1))
done
kill -KILL "$1" 2>/dev/null`;

// Servers that are just being ended may still write into it.
const REMOVE_DIRECTORY = `${WATCH}
tries=0
while [ -e "$1" ] && [ $tries -lt 100 ]; do
  rm -rf -- "$1" 2>/dev/null || sleep 0.1
  tries=$((tries + 1))
done`;

/**
 * Ends a child process when this program ends, until `release()` is called.
 * @param child.signal how it is asked to end; it is killed when it is still there after 8 s
 */
export function reapOnExit(child: {
  readonly pid: number;
  readonly signal: "QUIT" | "TERM" | "KILL";
}): Reaper {
  return watch(END_PROCESS, String(child.pid), child.signal);
}

/** Removes a directory, with all that is in it, when this program ends, until `release()` is called. */
export function removeOnExit(path: string): Reaper {
  return watch(REMOVE_DIRECTORY, path);
}

function watch(script: string, ...scriptArguments: string[]): Reaper {
  const watcher = Bun.spawn(["sh", "-c", script, "guardian", ...scriptArguments], {
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
