// The hash ring: each point owns the arc before it, and a key belongs to the next point clockwise.
import { useMemo } from "preact/hooks";
import { percent } from "../../shared/format";
import { fillOf, type Identity } from "./identity";
import { Strip, type Cell } from "./strip";

type Point = [number, number];

const OUTER = 150;
const INNER = 112;
const MIDDLE = 160;
/** Cells of the strip before the key's arc, and the most after it. */
const BEFORE = 2;
const AFTER = 7;

const spot = (turn: number, radius: number): [number, number] =>
  [MIDDLE + radius * Math.sin(turn * 2 * Math.PI), MIDDLE - radius * Math.cos(turn * 2 * Math.PI)];

const round = (v: number) => Math.round(v * 100) / 100;

function arc(from: number, to: number): string {
  const [a, b] = [spot(from, OUTER), spot(to, OUTER)].map((p) => p.map(round).join(" "));
  const [c, d] = [spot(to, INNER), spot(from, INNER)].map((p) => p.map(round).join(" "));
  const large = to - from > 0.5 ? 1 : 0;
  return `M${a}A${OUTER} ${OUTER} 0 ${large} 1 ${b}L${c}A${INNER} ${INNER} 0 ${large} 0 ${d}Z`;
}

/** Arcs of each server as one path, and the share of the circle. The arc before a point is that point's. */
export function arcs(points: Point[]): Map<number, { path: string; share: number; points: number }> {
  const found = new Map<number, { path: string; share: number; points: number }>();
  const add = (server: number, from: number, to: number) => {
    const own = found.get(server)!;
    own.share += to - from;
    // A whole circle has no single arc.
    if (to - from > 0.999) { own.path += arc(0, 0.5) + arc(0.5, 1); return; }
    if (to > from) own.path += arc(from, to);
  };
  for (const [, server] of points) {
    const own = found.get(server) ?? { path: "", share: 0, points: 0 };
    own.points += 1;
    found.set(server, own);
  }
  let start = points.length ? points[points.length - 1][0] - 1 : 0;
  points.forEach(([at, server], i) => {
    if (i + 1 < points.length && points[i + 1][1] === server) return;
    add(server, start, at);
    start = at;
  });
  return found;
}

/** Index of the point that owns a position. */
export function owner(points: Point[], at: number): number {
  let [low, high] = [0, points.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < at) low = middle + 1; else high = middle;
  }
  return low % points.length;
}

interface Props {
  points: Point[];
  at: number;
  picked: number | null;
  ids: Map<number, Identity>;
  /** Why a server is passed over, if it may not be picked. */
  passed: (server: number) => string;
  focus: number | null;
  keyText: string;
  prefix: string;
}

export function Ring({ points, at, picked, ids, focus, keyText, prefix }: Omit<Props, "passed">) {
  const all = useMemo(() => arcs(points), [points]);
  const [px, py] = spot(at, OUTER + 4);
  const [cx, cy] = spot(at, 26);
  const shown = focus ?? picked;
  const own = shown == null ? undefined : all.get(shown);
  return (
    <svg class="ring" viewBox="0 0 320 320" role="img" aria-label={`Hash ring with ${points.length} points of ${all.size} servers. The key is at ${percent(at)} of the circle.`}>
      {[...all].map(([server, { path }]) => {
        const id = ids.get(server);
        return id && <path key={server} d={path} fill={fillOf(id, prefix)} class={focus != null && focus !== server ? "arc faded" : "arc"} />;
      })}
      <circle class="ring-edge" cx={MIDDLE} cy={MIDDLE} r={OUTER} /><circle class="ring-edge" cx={MIDDLE} cy={MIDDLE} r={INNER} />
      <line class="needle" x1={cx} y1={cy} x2={px} y2={py} />
      <circle class="needle-end" cx={px} cy={py} r="5" />
      {own && shown != null && (
        <g class="ring-words">
          <rect x={MIDDLE - 58} y={MIDDLE - 34} width="116" height="64" rx="8" />
          <text x={MIDDLE} y={MIDDLE - 14} class="soft">{ids.get(shown)?.name}</text>
          <text x={MIDDLE} y={MIDDLE + 6} class="big">{percent(own.share)}</text>
          <text x={MIDDLE} y={MIDDLE + 22} class="soft">{own.points} {own.points === 1 ? "point" : "points"}</text>
        </g>
      )}
      <title>{keyText}</title>
    </svg>
  );
}

/** The arcs around the key, each as a cell of the same width. */
export function RingStrip({ points, at, picked, ids, passed, keyText, prefix }: Props) {
  const first = owner(points, at);
  const count = points.length;
  const step = (i: number) => points[((first + i) % count + count) % count];
  let way = 0;
  while (way < count && picked != null && step(way)[1] !== picked) way += 1;
  const reaches = picked != null && way < AFTER;
  const before = Math.min(BEFORE, Math.max(0, count - 1));
  const after = Math.min(count - before - 1, reaches ? Math.max(3, way + 1) : AFTER);
  const cells: Cell[] = [];
  for (let i = -before; i <= after; i++) {
    const id = ids.get(step(i)[1]);
    if (!id) return null;
    const over = i >= 0 && i < way && picked != null;
    cells.push({ id, ...(reaches && i === way ? { state: "picked" as const } : over ? { state: "passed" as const, note: passed(id.server) } : {}) });
  }
  const [start, end] = [step(-1)[0], step(0)[0]];
  const length = (end - start + 1) % 1 || 1;
  const inside = Math.min(0.92, Math.max(0.08, ((at - start + 1) % 1) / length));
  const name = picked == null ? "no server" : ids.get(picked)?.name;
  return (
    <Strip cells={cells} pin={before + inside} pinText={keyText} {...(reaches ? { to: before + way + 1 } : {})} open prefix={prefix}
      label={`${keyText}: ${picked == null ? "no server" : way === 0 ? `the next point clockwise belongs to ${name}` : `${way} points are passed, then one of ${name}`}.`} />
  );
}
