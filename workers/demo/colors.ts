// Colors text by its meaning, on terminals that want colors.
import { styleText } from "node:util";

type Style = (text: string) => string;

/** Styles by meaning, not by color. */
export interface Palette {
  readonly title: Style;
  readonly label: Style;
  readonly produced: Style;
  readonly consumed: Style;
  readonly figure: Style;
  readonly quiet: Style;
  readonly good: Style;
  readonly warning: Style;
  readonly bad: Style;
  readonly link: Style;
}

type Format = Parameters<typeof styleText>[0];

function style(format: Format): Style {
  return (text) => (text === "" ? "" : styleText(format, text, { validateStream: false }));
}

const plain: Style = (text) => text;

export const COLORS: Palette = {
  title: style(["bold", "cyan"]),
  label: style("bold"),
  produced: style("cyan"),
  consumed: style("green"),
  figure: style("bold"),
  quiet: style("gray"),
  good: style("green"),
  warning: style("yellow"),
  bad: style(["bold", "red"]),
  link: style("underline"),
};

export const NO_COLORS: Palette = {
  title: plain,
  label: plain,
  produced: plain,
  consumed: plain,
  figure: plain,
  quiet: plain,
  good: plain,
  warning: plain,
  bad: plain,
  link: plain,
};

/** Colors on a terminal, unless NO_COLOR (https://no-color.org) is set. */
export function paletteFor(
  stream: { isTTY?: boolean },
  environment: Record<string, string | undefined>,
): Palette {
  const isPlain =
    stream.isTTY !== true || (environment["NO_COLOR"] ?? "") !== "" || environment["TERM"] === "dumb";
  return isPlain ? NO_COLORS : COLORS;
}
