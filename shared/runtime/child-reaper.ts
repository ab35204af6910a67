// Ends child processes and removes directories when this program ends, even when it is killed or crashes.

export interface Reaper {
  /** Dismisses the reaper, which then touches nothing: its process or directory is already gone, or is kept. */
  release(): void;
}

// A reaper is a shell that reads from a pipe whose other end only this program holds. The pipe closes however this
// program ends, SIGKILL included. The shell ignores the signals that a terminal sends to all its processes.
const WAIT = `trap '' INT TERM HUP QUIT
if read -r released; then exit 0; fi
`;

// A zombie has ended; its parent may take long to reap it.
const END_PROCESS = `${WAIT}
kill -"$2" "$1" 2>/dev/null && kill -CONT "$1" 2>/dev/null
waited=0
while kill -0 "$1" 2>/dev/null && [ $waited -lt 80 ]; do
  case "$(cat "/proc/$1/stat" 2>/dev/null)" in *') Z '*) exit 0 ;; esac
  sleep 0.1; waited=$((waited + 1))
done
kill -KILL "$1" 2>/dev/null`;

// Servers that are still ending may write into the directory.
const REMOVE_DIRECTORY = `${WAIT}
tries=0
while [ -e "$1" ] && [ $tries -lt 100 ]; do
  rm -rf -- "$1" 2>/dev/null || sleep 0.1
  tries=$((tries + 1))
done`;

/**
 * Ends a child process when this program ends, until `release()` is called.
 * @param child.signal asks the process to end; after 8 s it is killed
 */
export function reapOnExit(child: {
  readonly pid: number;
  readonly signal: "QUIT" | "TERM" | "KILL";
}): Reaper {
  return startReaper(END_PROCESS, String(child.pid), child.signal);
}

/** Removes a directory and everything in it when this program ends, until `release()` is called. */
export function removeOnExit(path: string): Reaper {
  return startReaper(REMOVE_DIRECTORY, path);
}

function startReaper(script: string, ...scriptArguments: string[]): Reaper {
  const shell = Bun.spawn(["sh", "-c", script, "reaper", ...scriptArguments], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
    cwd: "/",
  });
  shell.unref();
  return {
    release() {
      void shell.stdin.write("released\n");
      void shell.stdin.end();
    },
  };
}
