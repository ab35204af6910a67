// Makes the logger: JSON lines, or readable lines on a terminal.

import type { Writable } from "node:stream";
import { isatty } from "node:tty";
import pino, { type DestinationStream, type Logger } from "pino";
import pretty from "pino-pretty";
import type { LogLevel } from "../config/config.ts";
import { codeOf } from "../runtime/errors.ts";
import { printable } from "../text/format.ts";

export type { Logger } from "pino";

export interface LoggerOptions {
  /** Fields of every line, for example `{ worker: 3 }` in a worker thread. */
  readonly bindings?: Readonly<Record<string, string | number>>;
  /** A file descriptor (1 by default, standard output), or the stream of a test. */
  readonly destination?: 1 | 2 | DestinationStream;
}

/**
 * Makes a logger, in any thread. Lines are written synchronously, so that none is lost when the process ends and the
 * lines of several threads do not mix.
 * @param name the program ("consumer")
 */
export function makeLogger(name: string, level: LogLevel, options: LoggerOptions = {}): Logger {
  const { bindings = {}, destination = 1 } = options;
  return pino(
    {
      level,
      base: { name, ...bindings },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: describeError },
    },
    typeof destination === "number" ? terminalOrPipe(destination) : destination,
  );
}

function terminalOrPipe(fd: 1 | 2): DestinationStream {
  return isatty(fd) ? terminalLines(fd) : pino.destination({ fd, sync: true });
}

/**
 * Turns lines of JSON into readable ones. Text from outside, such as a server's message, can neither move the cursor nor begin
 * a line.
 * @param destination a file descriptor, or the stream of a test
 */
export function terminalLines(destination: number | Writable): DestinationStream {
  // A stream in this thread: pino's transports need a worker thread, and lose lines at an abrupt exit.
  const lines = pretty({
    destination,
    sync: true,
    colorize: process.env["NO_COLOR"] === undefined,
    singleLine: true,
    translateTime: "SYS:HH:MM:ss.l",
    ignore: "name,pid,hostname",
  });
  return { write: (line) => void lines.write(`${JSON.stringify(JSON.parse(line, readable))}\n`) };
}

/** pino-pretty indents the lines of a stack. */
function readable(name: string, value: unknown): unknown {
  return typeof value === "string" ? printable(value, name === "stack" ? "\n" : "") : value;
}

/** The loggable part of an error. Drivers attach rows, parameters and settings; those stay out. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return String(error);
  const code = codeOf(error);
  return {
    type: error.name,
    message: error.message,
    ...(code === undefined ? {} : { code }),
    stack: error.stack,
    ...(error.cause === undefined ? {} : { cause: describeError(error.cause) }),
  };
}
