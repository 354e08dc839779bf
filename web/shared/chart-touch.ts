// Touch: two fingers zoom a chart, one finger moves it sideways once it is zoomed; up and down still scrolls the page.
import type uPlot from "uplot";

type Range = [number, number];

export interface TouchTarget {
  plot: () => uPlot | null;
  log: boolean;
  /** All of the axis. */
  full: Range;
  set: (range: Range | null) => void;
}

/** Listens on a chart; returns what ends that. */
export function touches(node: HTMLElement, target: TouchTarget): () => void {
  const fingers = new Map<number, number>();
  let start: { range: Range; xs: number[] } | null = null;
  const to = target.log ? Math.log : (v: number) => v;
  const from = target.log ? Math.exp : (v: number) => v;

  const begin = () => {
    const { min, max } = target.plot()?.scales.x ?? {};
    start = min == null || max == null ? null : { range: [to(min), to(max)], xs: [...fingers.values()] };
  };
  const down = (event: PointerEvent) => {
    if (event.pointerType !== "touch") return;
    fingers.set(event.pointerId, event.clientX);
    begin();
  };
  const move = (event: PointerEvent) => {
    const u = target.plot();
    if (!fingers.has(event.pointerId) || !start || !u) return;
    fingers.set(event.pointerId, event.clientX);
    const left = u.over.getBoundingClientRect().left;
    const width = u.over.clientWidth;
    const xs = [...fingers.values()];
    const [low, high] = start.range;
    const at = (x: number) => low + ((x - left) / width) * (high - low);
    const [full0, full1] = target.full.map(to) as Range;
    let next: Range;
    if (xs.length === 2 && start.xs.length === 2) {
      const spread = Math.max(20, Math.abs(xs[1] - xs[0])) / Math.max(20, Math.abs(start.xs[1] - start.xs[0]));
      const middle = at((start.xs[0] + start.xs[1]) / 2);
      const size = Math.min(full1 - full0, (high - low) / spread);
      const share = ((xs[0] + xs[1]) / 2 - left) / width;
      next = [middle - share * size, middle + (1 - share) * size];
    } else if (xs.length === 1 && high - low < (full1 - full0) * 0.999) {
      const shift = ((start.xs[0] - xs[0]) / width) * (high - low);
      next = [low + shift, high + shift];
    } else return;
    const size = next[1] - next[0];
    if (next[0] < full0) next = [full0, full0 + size];
    if (next[1] > full1) next = [full1 - size, full1];
    target.set(size >= (full1 - full0) * 0.999 ? null : [from(next[0]), from(next[1])]);
  };
  const up = (event: PointerEvent) => {
    if (fingers.delete(event.pointerId)) begin();
  };
  const events = [["pointerdown", down], ["pointermove", move], ["pointerup", up], ["pointercancel", up]] as const;
  for (const [name, listener] of events) node.addEventListener(name, listener);
  return () => { for (const [name, listener] of events) node.removeEventListener(name, listener); };
}
