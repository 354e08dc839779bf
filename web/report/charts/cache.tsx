// Cache hits against p99: a mark for each strategy; further right and lower is better.
import { useSignal } from "@preact/signals";
import { Figure } from "../../shared/figure";
import { interval, percent, seconds, tick } from "../../shared/format";
import { hex, markerPath } from "../../shared/palette";
import { dark } from "../../shared/theme";
import { linearTicks, logRange, logTicks } from "../../shared/ticks";
import { useWidth } from "../../shared/width";
import type { Run } from "../model";
import { drawn, highlight, leaders, scope, shortName, styleOf } from "../state";

const HEIGHT = 340;
const [LEFT, RIGHT, TOP, BOTTOM] = [58, 16, 12, 34];

interface Point { which: number; hits: number; p99: number }

function points(run: Run): Point[] {
  const pool = run.pools.length ? scope.value : null;
  return leaders.flatMap((which) => {
    const { values } = run.strategies[which];
    const [hits, p99] = ["cache.hit_ratio", "latency.p99"].map((name) => (values[pool ? `${pool}.${name}` : name] ?? values[name])?.[0]);
    return hits != null && p99 != null && p99 > 0 ? [{ which, hits, p99 }] : [];
  });
}

interface Placed extends Point { x: number; y: number; label: { x: number; y: number; anchor: "start" | "end" | "middle" } | null }

/** Puts labels where they cover neither marks nor other labels; a mark without room has its name in the tooltip only. */
function placed(all: Point[], width: number, toX: (v: number) => number, toY: (v: number) => number, named: ReadonlySet<number>): Placed[] {
  const boxes = all.map((p) => ({ x: toX(p.hits) - 6, y: toY(p.p99) - 6, w: 12, h: 12 }));
  return all.map((p) => {
    const [x, y] = [toX(p.hits), toY(p.p99)];
    if (!named.has(p.which)) return { ...p, x, y, label: null };
    const w = shortName(p.which).length * 6.8;
    const places = [
      { x: x + 9, y: y + 4, anchor: "start" as const, box: x + 9 }, { x: x - 9, y: y + 4, anchor: "end" as const, box: x - 9 - w },
      { x, y: y - 10, anchor: "middle" as const, box: x - w / 2 }, { x, y: y + 18, anchor: "middle" as const, box: x - w / 2 },
    ];
    for (const place of places) {
      const box = { x: place.box, y: place.y - 10, w, h: 13 };
      const free = box.x >= LEFT && box.x + w <= width - 2 && box.y >= 0 && box.y + 13 <= HEIGHT - BOTTOM
        && !boxes.some((b) => b.x < box.x + box.w && box.x < b.x + b.w && b.y < box.y + box.h && box.y < b.y + b.h);
      if (free) {
        boxes.push(box);
        return { ...p, x, y, label: place };
      }
    }
    return { ...p, x, y, label: null };
  });
}

export function Cache({ run }: { run: Run }) {
  const { host, width } = useWidth<HTMLDivElement>(600);
  const tip = useSignal<number | null>(null);
  const all = points(run);
  if (!all.length) return <div ref={host} hidden />;
  const shown = new Set(drawn.value);
  const [low, high] = [Math.min(...all.map((p) => p.hits)), Math.max(...all.map((p) => p.hits))];
  const pad = Math.max(0.02, (high - low) * 0.08);
  const [from, to] = [Math.max(0, low - pad), Math.min(1, high + pad)];
  const [bottom, top] = logRange(Math.min(...all.map((p) => p.p99)), Math.max(...all.map((p) => p.p99)));
  const toX = (v: number) => LEFT + ((v - from) / (to - from)) * (width - LEFT - RIGHT);
  const toY = (v: number) => TOP + (1 - Math.log(v / bottom) / Math.log(top / bottom)) * (HEIGHT - TOP - BOTTOM);
  const marks = placed(all, width, toX, toY, shown).sort((a, b) => Number(shown.has(a.which)) - Number(shown.has(b.which)));
  const hit = marks.find((p) => p.which === tip.value);
  const best = [...all].sort((a, b) => b.hits - a.hits)[0];
  const fast = [...all].sort((a, b) => a.p99 - b.p99)[0];
  const summary = `Most hits: ${shortName(best.which)}, ${percent(best.hits)} with a p99 of ${seconds(best.p99)}. Lowest p99: ${shortName(fast.which)}, ${seconds(fast.p99)} with ${percent(fast.hits)} hits.`;
  const estimate = (which: number, name: string) => run.strategies[which].values[name];
  return (
    <Figure title="Cache hits against p99" summary={summary}
      numbers={() => ({ columns: ["strategy", "cache hits", "p99"], rows: all.map((p) => [shortName(p.which), percent(p.hits), seconds(p.p99)]) })}>
      <p class="axis-y">p99, log; lower is better</p>
      <div class="rows" ref={host} role="group" aria-roledescription="chart" aria-label={`Cache hits against p99. ${summary}`} onPointerLeave={() => { tip.value = null; highlight.value = null; }}>
        <svg class="rows-svg" width={width} height={HEIGHT} aria-hidden="true">
          {logTicks(bottom, top, 7).map((v) => <g key={v}><line class="grid" x1={LEFT} x2={width - RIGHT} y1={toY(v)} y2={toY(v)} /><text class="tick" x={LEFT - 8} y={toY(v) + 4} text-anchor="end">{tick(v, "s")}</text></g>)}
          {linearTicks(from, to, Math.floor(width / 90)).map((v) => <g key={v}><line class="grid" x1={toX(v)} x2={toX(v)} y1={TOP} y2={HEIGHT - BOTTOM} /><text class="tick" x={toX(v)} y={HEIGHT - BOTTOM + 18} text-anchor="middle">{tick(v, "share")}</text></g>)}
          {marks.map((p) => {
            const style = styleOf(p.which);
            const on = shown.has(p.which);
            return (
              <g key={p.which} class={highlight.value != null && highlight.value !== p.which && shown.has(highlight.value as number) ? "faded" : ""}>
                <path d={markerPath(style.shape, p.x, p.y, on ? 6 : 4)} fill={on ? hex(style, dark.value) : "var(--faint)"} stroke="var(--ground)"
                  onPointerEnter={() => { tip.value = p.which; if (on) highlight.value = p.which; }} />
                {p.label && <text class="point-label" x={p.label.x} y={p.label.y} text-anchor={p.label.anchor}>{shortName(p.which)}</text>}
              </g>
            );
          })}
        </svg>
        {hit && (
          <div class="tip" style={{ top: `${Math.min(hit.y + 12, HEIGHT - 90)}px`, ...(hit.x > width / 2 ? { right: `${width - hit.x + 12}px` } : { left: `${hit.x + 12}px` }) }}>
            <div class="tip-head">{shortName(hit.which)}</div>
            <div class="tip-row"><span class="tip-name">cache hits</span> <b>{percent(hit.hits)}</b> <small>{interval(...ends(estimate(hit.which, "cache.hit_ratio")), "share")}</small></div>
            <div class="tip-row"><span class="tip-name">p99</span> <b>{seconds(hit.p99)}</b> <small>{interval(...ends(estimate(hit.which, "latency.p99")), "s")}</small></div>
            <div class="tip-note">More hits are further right; faster is lower. Grey: not selected.</div>
          </div>
        )}
      </div>
      <p class="axis-x">share of cache look-ups that hit</p>
    </Figure>
  );
}

const ends = (e: (number | null)[] | undefined): [number | null, number | null] => [e?.[1] ?? null, e?.[2] ?? null];
