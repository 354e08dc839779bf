// How the strategy came to the server: the sample, the ring, the table or the order, drawn.
import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import type { Moves, Why } from "../engine";
import { Mark, type Identity } from "./identity";
import { Grid, GridStrip } from "./grid";
import { arcs, Ring, RingStrip } from "./ring";
import { scoreText } from "./servers";
import { Shares } from "./shares";
import { Strip, type Cell } from "./strip";

export interface PlacementProps {
  why: Why;
  ids: Map<number, Identity>;
  prefix: string;
  hovered: number | null;
  focus: (server: number | null) => void;
  leaving: number | null;
  moves: Moves | null;
  leave: (server: number | null) => void;
  /** The strategy places keys, also where there is no ring or table to draw. */
  places: boolean;
}

type Placement<K> = Extract<Why["placement"], { kind: K }>;

/** What is hashed, in short. */
const keyText = (why: Why): string => {
  const text = why.request.key || why.request.client;
  return text ? `key ${text.length > 22 ? `${text.slice(0, 21)}…` : text}` : "this key";
};

/** Why a server that is next may not be picked. */
function passedBy(why: Why) {
  return (server: number): string => {
    const s = why.servers.find((one) => one.server === server);
    return s == null ? "" : s.excluded ? "tried" : !s.eligible ? "not eligible" : "full";
  };
}

/** The same points give the same arrays, so that a drawing is made again only when it changes. */
function useStable<T>(value: T, key: string): T {
  return useMemo(() => value, [key]);
}

function Sample({ of, why, ids, prefix, focus }: PlacementProps & { of: Placement<"sample"> }) {
  const distinct = [...new Set(of.servers)];
  const scored = why.servers.some((s) => s.score != null);
  return (
    <section class="placement">
      <h4>{distinct.length === 1 ? "One server drawn at random" : `${distinct.length} servers drawn at random`}</h4>
      <ul class="duel">
        {distinct.map((server) => {
          const s = why.servers.find((one) => one.server === server);
          const id = ids.get(server);
          if (!s || !id) return null;
          const picked = server === why.picked;
          return (
            <li key={server} class={picked ? "duel-card picked" : "duel-card"} onPointerEnter={() => focus(server)} onPointerLeave={() => focus(null)}>
              <p class="duel-name"><Mark id={id} prefix={prefix} /> <span>{s.name}</span>{picked && <span class="tag picked-tag">picked</span>}</p>
              <p class="duel-value"><b>{scored && s.score != null ? scoreText(s.score) : s.in_flight}</b> <span class="soft">{scored && s.score != null ? "score" : "in flight"}</span></p>
            </li>
          );
        })}
      </ul>
      <p class="note">The other {why.servers.length - distinct.length} servers are not looked at for this request.</p>
    </section>
  );
}

function RingView({ of, ...props }: PlacementProps & { of: Placement<"ring"> }) {
  const { why, ids, prefix, hovered } = props;
  const last = of.points[of.points.length - 1];
  const points = useStable(of.points, `${of.points.length} ${of.points[0]} ${of.points[of.points.length >> 1]} ${last} ${of.points.length && of.points.reduce((sum, p, i) => (sum + p[1] * (i % 997)) % 1e9, 0)}`);
  const shares = useMemo(() => new Map([...arcs(points)].map(([server, own]) => [server, own.share])), [points]);
  if (!points.length) return null;
  const ring = { points, at: of.at, picked: why.picked, ids, passed: passedBy(why), focus: hovered, keyText: keyText(why), prefix };
  return (
    <section class="placement">
      <h4>From the key clockwise to the next point</h4>
      <RingStrip {...ring} />
      <p class="note">The arcs around the key, not to scale. The ring has {points.length.toLocaleString("en")} points.</p>
      <div class="whole"><Ring {...ring} /><Shares {...props} shares={shares} what="Share of the circle" /></div>
    </section>
  );
}

function TableView({ of, ...props }: PlacementProps & { of: Placement<"table"> & { from?: number } }) {
  const { why, ids, prefix, hovered } = props;
  const entries = useStable(of.entries, `${of.from} ${of.entries.length} ${of.entries.reduce((sum, e, i) => (sum + (e + 1) * (i % 997)) % 1e9, 0)}`);
  const shares = useMemo(() => {
    const counts = new Map<number, number>();
    for (const server of entries) counts.set(server, (counts.get(server) ?? 0) + 1 / entries.length);
    return counts;
  }, [entries]);
  const grid = { entries, from: of.from ?? 0, size: of.size, at: of.at, picked: why.picked, ids, focus: hovered, keyText: keyText(why), prefix };
  return (
    <section class="placement">
      <h4>The key's hash chooses entry {of.at.toLocaleString("en")} of {of.size.toLocaleString("en")}</h4>
      <GridStrip {...grid} />
      <div class="whole"><Grid {...grid} /><Shares {...props} shares={shares} what={entries.length < of.size ? "Share of the entries shown" : "Share of the entries"} /></div>
    </section>
  );
}

/** More places than this are not drawn. */
const LONGEST = 12;

function Order({ of, why, ids, prefix }: PlacementProps & { of: Placement<"order"> }) {
  const count = of.servers.length;
  if (!count) return null;
  // The place of this pick: the last place of the picked server before `next`.
  let here = (of.next - 1 + count) % count;
  let passed = 0;
  while (why.picked != null && passed < count && of.servers[here] !== why.picked) { here = (here - 1 + count) % count; passed += 1; }
  if (passed === count) here = (of.next - 1 + count) % count;
  const shown = Math.min(count, LONGEST);
  const first = count <= LONGEST ? 0 : here - 3;
  const place = (i: number) => ((i % count) + count) % count;
  const cells: Cell[] = [];
  for (let i = first; i < first + shown; i++) {
    const id = ids.get(of.servers[place(i)]);
    if (!id) return null;
    cells.push({ id, ...(place(i) === here ? { state: "picked" as const, note: "now" } : place(i) === place(of.next) ? { state: "next" as const, note: "next" } : {}) });
  }
  const names = of.servers.slice(0, 24).map((server) => ids.get(server)?.name).join(", ");
  return (
    <section class="placement">
      <h4>The order of the servers</h4>
      <Strip cells={cells} pin={place(here - first) + 0.5} pinText="this request" open={count > LONGEST} prefix={prefix} label={`Order: ${names}. This request is at place ${here + 1}.`} />
      <p class="note">{count > LONGEST ? `${LONGEST} of ${count} places.` : "After the last comes the first again."} How busy a server is plays no part.</p>
    </section>
  );
}

/** A strategy that computes a key's server without a ring or a table. */
function Computed(props: PlacementProps) {
  return (
    <section class="placement">
      <p class="note">The server is computed from the {keyText(props.why)}; there is no ring or table to draw.</p>
      <Shares {...props} shares={null} what="Share of the keys" />
    </section>
  );
}

function Plain({ children }: { children: ComponentChildren }) {
  return <p class="note">{children}</p>;
}

export function Placement(props: PlacementProps) {
  const of = props.why.placement;
  switch (of?.kind) {
    case "sample": return <Sample {...props} of={of} />;
    case "ring": return <RingView {...props} of={of} />;
    case "table": return <TableView {...props} of={of} />;
    case "order": return <Order {...props} of={of} />;
    default: if (props.places) return <Computed {...props} />;
      return props.why.servers.some((s) => s.score != null) ? null : <Plain>There is nothing to draw: this strategy keeps no ring, table or order, and gives servers no scores.</Plain>;
  }
}
