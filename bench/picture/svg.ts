// Writes elements of SVG as text.

export type Attributes = Readonly<Record<string, string | number>>;

const ESCAPES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** An element with the elements inside it; numbers are rounded to tenths. */
export function element(name: string, attributes: Attributes, ...children: readonly string[]): string {
  const pairs = Object.entries(attributes).map(([key, value]) => ` ${key}="${valueOf(value)}"`);
  const start = `<${name}${pairs.join("")}`;
  return children.length === 0 ? `${start}/>` : `${start}>${children.join("\n")}</${name}>`;
}

/** A line of text. */
export function label(content: string, attributes: Attributes): string {
  return element("text", attributes, escaped(content));
}

function valueOf(value: string | number): string {
  return typeof value === "number" ? String(Math.round(value * 10) / 10) : escaped(value);
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => ESCAPES[character]!);
}
