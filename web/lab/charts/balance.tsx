// How evenly the requests are spread: a bar per server for each lane, and Jain's index.
import { Figure } from "../../shared/figure";
import { hex } from "../../shared/palette";
import { Swatch } from "../../shared/swatch";
import { dark } from "../../shared/theme";
import { type Lane, lanes, description } from "../state";

const HEIGHT = 56;

/** Requests of each server, as a multiple of its share by weight within its pool. */
function loads(lane: Lane): { name: string; load: number }[] {
  // With the metrics, a few times a second: not with each frame.
  void lane.metrics.value;
  const frame = lane.frame.peek();
  const of = description.value;
  if (!frame || !of) return [];
  return of.pools.flatMap((pool) => {
    const picked = pool.servers.map((_, n) => frame.server(pool.first + n, "picked"));
    const all = picked.reduce((sum, n) => sum + n, 0);
    const weights = pool.servers.reduce((sum, server) => sum + server.weight, 0);
    return pool.servers.map((server, n) => ({ name: server.name, load: all > 0 && weights > 0 ? picked[n] / all / (server.weight / weights) : 0 }));
  });
}

function Strip({ lane, most }: { lane: Lane; most: number }) {
  const all = loads(lane);
  const jain = lane.metrics.value?.values["fairness.jain"];
  const y = (load: number) => HEIGHT - (HEIGHT - 4) * Math.min(1, load / most);
  const step = 100 / Math.max(1, all.length);
  return (
    <div class="strip">
      <p class="strip-name"><Swatch style={lane.style} /> <span>{lane.strategy}</span> <b>{jain == null ? "–" : jain.toFixed(3)}</b></p>
      <svg viewBox={`0 0 100 ${HEIGHT}`} preserveAspectRatio="none" height={HEIGHT} aria-hidden="true">
        <path d={all.map((one, n) => `M${(n + 0.14) * step} ${HEIGHT}V${y(one.load)}h${step * 0.72}V${HEIGHT}Z`).join("")} fill={hex(lane.style, dark.value)} opacity="0.8" />
        <line x1="0" x2="100" y1={y(1)} y2={y(1)} class="fair" vector-effect="non-scaling-stroke" />
      </svg>
    </div>
  );
}

export function Balance() {
  const all = lanes.value.map((lane) => ({ lane, loads: loads(lane) }));
  const most = Math.max(1.5, ...all.flatMap((one) => one.loads.map((l) => l.load)));
  const told = all.map(({ lane, loads: of }) => [lane.strategy, Math.max(0, ...of.map((one) => one.load))] as const).filter(([, load]) => load > 0);
  return (
    <Figure title="Requests per server" summary={told.length ? `The busiest server gets ${told.map(([name, load]) => `${load.toFixed(2)}x its share with ${name}`).join(", ")}. The number at the right is Jain's fairness: 1 is even.` : "No requests yet."}
      numbers={() => ({ columns: ["server", ...all.map((one) => one.lane.strategy)], rows: (all[0]?.loads ?? []).map((server, n) => [server.name, ...all.map((one) => `${one.loads[n]?.load.toFixed(2)}x`)]) })}>
      <div class="strips">{all.map(({ lane }) => <Strip key={lane.id} lane={lane} most={most} />)}</div>
    </Figure>
  );
}
