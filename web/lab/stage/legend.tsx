// What the shapes mean: those that have been seen, and at high speed what stands for them.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { dark } from "../../shared/theme";
import { singles } from "../playback/lanes";
import { description } from "../state";
import type { Kind } from "./jobs";
import { colours, MEANING, shape } from "./marks";
import type { Painter } from "./painter";

const ORDER: Kind[] = ["plain", "hit", "miss", "call", "retry", "hedge", "late", "failed"];

class SvgPath {
  d = "";
  moveTo(x: number, y: number) { this.d += `M${x} ${y}`; }
  lineTo(x: number, y: number) { this.d += `L${x} ${y}`; }
  rect(x: number, y: number, w: number, h: number) { this.d += `M${x} ${y}h${w}v${h}h${-w}Z`; }
  arc(x: number, y: number, r: number) { this.d += `A${r} ${r} 0 1 1 ${x - r} ${y}A${r} ${r} 0 1 1 ${x + r} ${y}`; }
  closePath() { this.d += "Z"; }
}

function Sign({ kind }: { kind: Kind }) {
  const path = new SvgPath();
  shape(path as unknown as CanvasPath, kind, 7, 7, 4.6);
  const colour = colours(dark.value).kinds[kind];
  const hollow = kind === "late" || kind === "failed";
  return <svg width="14" height="14" viewBox="0 0 14 14" aria-hidden="true"><path d={path.d} style={{ fill: hollow ? "none" : colour, stroke: hollow ? colour : "none", strokeWidth: "1.6" }} /></svg>;
}

export function Legend({ active }: { active: Set<Painter> }) {
  const seen = useSignal("plain");
  const one = useSignal(true);
  useEffect(() => {
    const timer = setInterval(() => {
      const kinds = new Set([...active].flatMap((painter) => [...painter.jobs.kinds]));
      seen.value = ORDER.filter((kind) => kind === "plain" || kinds.has(kind)).join();
      one.value = singles();
    }, 500);
    return () => clearInterval(timer);
  }, []);
  const caches = description.value?.pools.some((pool) => pool.servers.some((server) => server.cache != null));
  return (
    <p class="key stage-key">
      {one.value
        ? (seen.value.split(",") as Kind[]).map((kind) => <span key={kind}><Sign kind={kind} /> {MEANING[kind]}</span>)
        : <span><i class="queue-sign" /> length of a queue</span>}
      <span><i class="slot-sign" /> slot of a server</span>
      {caches && <span><i class="cache-sign" /> how full its cache is</span>}
    </p>
  );
}
