// What uPlot does not draw itself: marked spans, bands, areas, marker shapes, vertical lines with labels.
import type uPlot from "uplot";
import type { Area, Curve, Mark, Region, Values } from "./chart-types";
import { hex, markerPath } from "./palette";

/** Value of a design token. */
export const token = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Distance between two markers of a curve. */
const MARKER_EVERY = 96;
const FEW_POINTS = 24;

/** Draws in the plot only, or in it and a little beyond. */
function clipped(u: uPlot, draw: (ctx: CanvasRenderingContext2D, ratio: number) => void, beyond = 0): void {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left - beyond, bbox.top - beyond, bbox.width + 2 * beyond, bbox.height + 2 * beyond);
  ctx.clip();
  draw(ctx, devicePixelRatio || 1);
  ctx.restore();
}

export function regions(u: uPlot, all: Region[]): void {
  if (!all.length) return;
  clipped(u, (ctx, ratio) => {
    const { top, height, left, width } = u.bbox;
    for (const region of all) {
      const from = Math.max(left, u.valToPos(region.from, "x", true));
      const to = Math.min(left + width, u.valToPos(region.to, "x", true));
      if (to < left || from > left + width) continue;
      ctx.fillStyle = token(region.calm ? "--sunken" : "--fault");
      ctx.fillRect(from, top, Math.max(to - from, 2 * ratio), height);
      if (region.calm) continue;
      ctx.fillStyle = token("--fault-edge");
      ctx.fillRect(from, top, Math.max(to - from, 2 * ratio), 3 * ratio);
      for (const edge of [from, to]) ctx.fillRect(Math.round(edge), top, 1, height);
    }
  });
}

/** Names of the spans, above the plot; a name needs room that no earlier one has. Returns where they are. */
export function regionNames(u: uPlot, all: Region[]): [number, number][] {
  const taken: [number, number][] = [];
  const { ctx, bbox: { top, left, width } } = u;
  const ratio = devicePixelRatio || 1;
  let end = -Infinity;
  ctx.save();
  ctx.font = `${11 * ratio}px ${token("--font")}`;
  ctx.fillStyle = token("--soft");
  ctx.textBaseline = "bottom";
  ctx.textAlign = "left";
  for (const region of all) {
    const from = Math.max(left, u.valToPos(region.from, "x", true));
    const size = ctx.measureText(region.text).width;
    if (from > left + width || u.valToPos(region.to, "x", true) < left) continue;
    const at = Math.min(from, left + width - size);
    if (at < Math.max(end, left)) continue;
    ctx.fillText(region.text, at, top - 4 * ratio);
    end = at + size + 10 * ratio;
    taken.push([at, at + size]);
  }
  ctx.restore();
  return taken;
}

function area(u: uPlot, low: Values, high: Values, fill: string, alpha: number): void {
  clipped(u, (ctx) => {
    const xs = u.data[0];
    ctx.globalAlpha = alpha;
    ctx.fillStyle = fill;
    let run: number[] = [];
    const flush = () => {
      if (run.length > 1) {
        ctx.beginPath();
        run.forEach((i, n) => ctx[n ? "lineTo" : "moveTo"](u.valToPos(xs[i], "x", true), u.valToPos(high[i]!, "y", true)));
        run.reverse().forEach((i) => ctx.lineTo(u.valToPos(xs[i], "x", true), u.valToPos(low[i]!, "y", true)));
        ctx.fill();
      }
      run = [];
    };
    xs.forEach((_, i) => { if (low[i] == null || high[i] == null) flush(); else run.push(i); });
    flush();
  });
}

export function bands(u: uPlot, curves: Curve[], areas: Area[], dark: boolean): void {
  for (const one of areas) area(u, one.low, one.high, token("--faint"), 0.55);
  curves.forEach((curve, i) => {
    if (curve.low && curve.high) area(u, curve.low, curve.high, hex(curve.style, dark), 0.18 * (u.series[i + 1].alpha ?? 1));
  });
}

/** Marker shapes along a curve, at different places for each. */
export function markers(u: uPlot, index: number, curve: Curve, count: number, dark: boolean): void {
  if (curve.faint) return;
  clipped(u, (ctx, ratio) => {
    const xs = u.data[0];
    const ys = u.data[index] as Values;
    const every = xs.length <= FEW_POINTS ? 0 : MARKER_EVERY * ratio;
    let next = u.bbox.left + (every ? (((index * 0.618) % 1) * 0.8 + 0.1) * every : 0);
    ctx.globalAlpha = u.series[index].alpha ?? 1;
    ctx.fillStyle = hex(curve.style, dark);
    ctx.strokeStyle = token("--ground");
    ctx.lineWidth = 1.25 * ratio;
    const scale = u.scales.x;
    for (let i = 0; i < xs.length; i++) {
      if (ys[i] == null || xs[i] < (scale.min ?? -Infinity) || xs[i] > (scale.max ?? Infinity)) continue;
      const x = u.valToPos(xs[i], "x", true);
      if (every && x < next) continue;
      if (every) next = Math.max(next + every, x + every / 2);
      const path = new Path2D(markerPath(curve.style.shape, x, u.valToPos(ys[i]!, "y", true), (count > 12 ? 3.2 : 4) * ratio));
      ctx.fill(path);
      ctx.stroke(path);
    }
  }, 6 * (devicePixelRatio || 1));
}

/** Vertical lines with labels above the plot, beside what is there. */
export function verticals(u: uPlot, marks: Mark[], taken: [number, number][]): void {
  const { ctx, bbox: { top, height, left, width } } = u;
  const ratio = devicePixelRatio || 1;
  let end = -Infinity;
  ctx.save();
  for (const mark of [...marks].sort((a, b) => a.at - b.at)) {
    const x = Math.round(u.valToPos(mark.at, "x", true));
    if (x < left || x > left + width) continue;
    ctx.strokeStyle = token("--ink");
    ctx.lineWidth = 1.5 * ratio;
    ctx.setLineDash([4 * ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(x, top);
    ctx.lineTo(x, top + height);
    ctx.stroke();
    ctx.font = `600 ${11 * ratio}px ${token("--font")}`;
    const size = ctx.measureText(mark.text).width + 8 * ratio;
    let from = Math.max(left, Math.min(x - size / 2, left + width - size));
    for (const [a, b] of taken) if (from < b && a < from + size) from = x < (a + b) / 2 ? a - size - 3 * ratio : b + 3 * ratio;
    if (from < end || from + size > left + width + 20 * ratio) continue;
    end = from + size + 4 * ratio;
    ctx.fillStyle = token("--ink");
    ctx.fillRect(from, top - 19 * ratio, size, 16 * ratio);
    ctx.fillStyle = token("--ground");
    ctx.textBaseline = "middle";
    ctx.textAlign = "left";
    ctx.fillText(mark.text, from + 4 * ratio, top - 10.5 * ratio);
  }
  ctx.restore();
}
