// Colours, dashes and marker shapes of strategies: the same as in the program's static charts. The colours are those of Okabe and Ito,
// which can be distinguished with any colour vision; dash and marker change with the colour, so that nothing depends on colour alone.

export interface Style {
  /** Index into the palette; -1 for baselines with perfect information. */
  colour: number;
  dash: number;
  shape: number;
}

const LIGHT = ["#0072b2", "#d55e00", "#009e73", "#e69f00", "#56b4e9", "#cc79a7"];
/** On a dark ground blue is lighter; the others stay. */
const DARK = ["#2f93dc", "#e8743a", "#1fb58a", "#f0b429", "#8fd0f7", "#dd9abf"];
const SOFT = { light: "#666666", dark: "#a3abb3" };

export const DASHES: number[][] = [[], [11, 5], [2.5, 3.5], [11, 3.5, 2.5, 3.5]];
export const COLOURS = LIGHT.length;
/** Number of different styles. */
const STYLES = 24;

export function numbered(number: number): Style {
  const turn = number + Math.floor(number / COLOURS);
  return { colour: number % COLOURS, dash: turn % DASHES.length, shape: turn % 4 };
}

export const hex = (style: Style, dark: boolean): string =>
  style.colour < 0 ? (dark ? SOFT.dark : SOFT.light) : (dark ? DARK : LIGHT)[style.colour];

/**
 * A style for each strategy. `preferred` is the place in the catalogue: a strategy tends to have the same style in every report, and has
 * another one only if an earlier one in `order` has its colour, or its dashes and marker, already.
 */
export function assign(order: number[], preferred: (which: number) => number, oracle: (which: number) => boolean): Map<number, Style> {
  const styles = new Map<number, Style>();
  const taken: number[] = [];
  let baselines = 0;
  for (const which of order) {
    if (oracle(which)) {
      styles.set(which, { colour: -1, dash: (baselines + 2) % DASHES.length, shape: baselines % 4 });
      baselines += 1;
      continue;
    }
    // Colours that are not used come first; of those, dashes and markers that are not.
    const turn = (number: number) => (number + Math.floor(number / COLOURS)) % DASHES.length;
    const used = (number: number) => taken.reduce((sum, other) =>
      sum + (other % COLOURS === number % COLOURS ? STYLES : 0) + (turn(other) === turn(number) ? 1 : 0), 0);
    const place = preferred(which);
    let best = -1;
    for (let step = 0; step < STYLES; step++) {
      const number = (place + step) % STYLES;
      if (!taken.includes(number) && (best < 0 || used(number) < used(best))) best = number;
    }
    if (best < 0) best = place % STYLES;
    taken.push(best);
    styles.set(which, numbered(best));
  }
  return styles;
}

/** Outline of a marker around (x, y): circle, square, triangle, diamond. */
export function markerPath(shape: number, x: number, y: number, r: number): string {
  switch (shape % 4) {
    case 0: return `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
    case 1: { const h = r * 0.88; return `M${x - h} ${y - h}h${2 * h}v${2 * h}h${-2 * h}Z`; }
    case 2: return `M${x} ${y - r * 1.15}L${x + r * 1.1} ${y + r * 0.85}H${x - r * 1.1}Z`;
    default: return `M${x} ${y - r * 1.2}L${x + r * 1.2} ${y}L${x} ${y + r * 1.2}L${x - r * 1.2} ${y}Z`;
  }
}
