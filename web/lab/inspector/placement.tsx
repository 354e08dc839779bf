// How the strategy came to the server: the sample, the ring, the table or the order, drawn.
import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import type { Why } from "../engine";
import { Mark, type Identity } from "./identity";
import { Grid, GridStrip } from "./grid";
import { arcs, Ring, RingStrip } from "./ring";
import { scoreText } from "./servers";
import { type Moved, Shares } from "./shares";
import { Strip, type Cell } from "./strip";

export interface PlacementProps {
  why: Why;
  ids: Map<number, Identity>;
  prefix: string;
  hovered: number | null;
  focus: (server: number | null) => void;
  leaving: number | null;
  moves: Moved | null;
  leave: (server: number | null) => void;
  /** The strategy places keys, also where there is no ring or table to draw. */
  places: boolean;
}

type Placement<K> = Extract<Why["placement"], { kind: K }>;

/** The engine shows at most this many points or entries; of more it leaves some out. */
const MOST_SHOWN = 4096;

/** What is hashed, in short. */
const keyText = (why: Why): string => {
  const text = why.request.key || why.request.client;
  return text ? `key ${text.length > 12 ? `${text.slice(0, 8)}…` : text}` : "this key";
};

/** Why a server that is next may not be picked. */
function passedBy(why: Why) {
  return (server: number): string => {
    const s: (Why["servers"][number] & { passed_over?: boolean }) | undefined = why.servers.find((one) => one.server === server);
    return s == null ? "" : !s.eligible ? "not eligible" : s.excluded ? "tried or full" : s.passed_over ? "full" : "";
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
      {points.length < MOST_SHOWN
        ? <><RingStrip {...ring} /><p class="note">The arcs around the key, not to scale. The ring has {points.length.toLocaleString("en")} points.</p></>
        : <p class="note">The ring has more points than can be shown; some are left out of the picture.</p>}
      <div class="whole"><Ring {...ring} /><Shares {...props} shares={shares} what="Share of the circle" /></div>
    </section>
  );
}

function TableView({ of, ...props }: PlacementProps & { of: Placement<"table"> }) {
  const { why, ids, prefix, hovered } = props;
  const entries = useStable(of.entries, `${of.entries.length} ${of.entries.reduce((sum, e, i) => (sum + (e + 1) * (i % 997)) % 1e9, 0)}`);
  const shares = useMemo(() => {
    const counts = new Map<number, number>();
    for (const server of entries) counts.set(server, (counts.get(server) ?? 0) + 1 / entries.length);
    return counts;
  }, [entries]);
  const whole = entries.length === of.size;
  const grid = { entries, size: of.size, at: of.at, picked: why.picked, ids, focus: hovered, keyText: keyText(why), prefix };
  return (
    <section class="placement">
      <h4>The key's hash chooses {whole ? `entry ${of.at.toLocaleString("en")}` : "one"} of {of.size.toLocaleString("en")} entries</h4>
      <GridStrip {...grid} />
      <div class="whole"><Grid {...grid} /><Shares {...props} shares={shares} what="Share of the entries" /></div>
    </section>
  );
}

/** More turns than this are not drawn. */
const LONGEST = 12;

/** The turns from this request on. */
function Order({ of, why, ids, prefix }: PlacementProps & { of: Placement<"order"> }) {
  const passed = passedBy(why);
  const first = Math.max(0, Math.min(of.next - 2, of.servers.length - LONGEST));
  const turns = of.servers.slice(first, first + LONGEST);
  const here = of.next - first;
  const cells: Cell[] = [];
  for (const [i, server] of turns.entries()) {
    const id = ids.get(server);
    if (!id) return null;
    cells.push({ id, ...(i < here ? { state: "passed" as const, note: passed(server) } : i === here ? { state: "picked" as const, note: "now" } : i === here + 1 ? { state: "next" as const, note: "next" } : {}) });
  }
  if (!cells.length) return null;
  const names = turns.slice(here, here + 6).map((server) => ids.get(server)?.name).join(", then ");
  return (
    <section class="placement">
      <h4>The turns from here on</h4>
      <Strip cells={cells} pin={here + 0.5} pinText="this request" open prefix={prefix} label={`Turns: ${names}.`} />
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
