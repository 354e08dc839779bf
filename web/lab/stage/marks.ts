// Shapes and colours of requests: a kind has both, so that nothing depends on colour alone. The colours are the report's palette.
import type { Kind } from "./jobs";
import { token } from "../../shared/chart-draw";

export interface Colours {
  ground: string; raised: string; line: string; strong: string; ink: string; soft: string; accent: string; accentGround: string; bad: string; badGround: string; faint: string; warn: string; font: string;
  kinds: Record<Kind, string>;
}

const NAMES = { ground: "--ground", raised: "--raised", line: "--line", strong: "--line-strong", ink: "--ink", soft: "--soft", accent: "--accent", accentGround: "--accent-ground", bad: "--bad", badGround: "--bad-ground", faint: "--faint", warn: "--warn", font: "--font" } as const;

/** Reads the design tokens: once per theme, since that is slow. */
export function colours(dark: boolean): Colours {
  const read = Object.fromEntries(Object.entries(NAMES).map(([name, key]) => [name, token(key)])) as Omit<Colours, "kinds">;
  const kinds: Record<Kind, string> = dark
    ? { plain: "#4aa3e6", hit: "#1fb58a", miss: "#f0b429", retry: "#e8743a", hedge: "#dd9abf", call: "#8fd0f7", failed: read.bad, late: read.soft }
    : { plain: "#0072b2", hit: "#009e73", miss: "#c98a00", retry: "#d55e00", hedge: "#b0568c", call: "#3c93c7", failed: read.bad, late: read.soft };
  return { ...read, kinds };
}

export const MEANING: Record<Kind, string> = {
  plain: "request", hit: "cache hit", miss: "cache miss", retry: "retry", hedge: "hedged copy", call: "call to the second tier", failed: "failed",
  late: "its client has given up",
};

/** Adds a kind's shape to the path: circle, diamond, square, triangle up, triangle down, small circle, cross. */
export function shape(path: CanvasPath, kind: Kind, x: number, y: number, r: number): void {
  switch (kind) {
    case "plain": case "late": path.moveTo(x + r, y); path.arc(x, y, r, 0, 2 * Math.PI); return;
    case "call": path.moveTo(x + r * 0.7, y); path.arc(x, y, r * 0.7, 0, 2 * Math.PI); return;
    case "hit": path.moveTo(x, y - r * 1.2); path.lineTo(x + r * 1.2, y); path.lineTo(x, y + r * 1.2); path.lineTo(x - r * 1.2, y); path.closePath(); return;
    case "miss": path.rect(x - r * 0.86, y - r * 0.86, r * 1.72, r * 1.72); return;
    case "retry": path.moveTo(x, y - r * 1.15); path.lineTo(x + r * 1.1, y + r * 0.85); path.lineTo(x - r * 1.1, y + r * 0.85); path.closePath(); return;
    case "hedge": path.moveTo(x, y + r * 1.15); path.lineTo(x + r * 1.1, y - r * 0.85); path.lineTo(x - r * 1.1, y - r * 0.85); path.closePath(); return;
    case "failed": path.moveTo(x - r, y - r); path.lineTo(x + r, y + r); path.moveTo(x + r, y - r); path.lineTo(x - r, y + r); return;
  }
}
