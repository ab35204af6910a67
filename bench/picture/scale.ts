// Maps values to places in a chart, and chooses the values that its axes name.

/** From a value to its place in pixels. */
export type Scale = (value: number) => number;

export function linearScale([from, to]: readonly [number, number], pixels: readonly [number, number]): Scale {
  const perUnit = (pixels[1] - pixels[0]) / (to - from || 1);
  return (value) => pixels[0] + (value - from) * perUnit;
}

/** Equal factors are equal distances; values are above 0. */
export function logScale([from, to]: readonly [number, number], pixels: readonly [number, number]): Scale {
  const scale = linearScale([Math.log(from), Math.log(to)], pixels);
  return (value) => scale(Math.log(value));
}

/** Round values from 0 up to the first at or above `most`: four to ten steps of 1, 2 or 5 times a power of ten. */
export function ticks(most: number): number[] {
  const power = 10 ** Math.floor(Math.log10(most));
  const step = [0.1, 0.2, 0.5, 1, 2].map((part) => part * power).findLast((wide) => most / wide >= 4)!;
  return Array.from({ length: Math.ceil(most / step - 1e-9) + 1 }, (_, index) => index * step);
}
