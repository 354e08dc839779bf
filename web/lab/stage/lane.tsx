// A lane: its strategy, its numbers so far, and its picture. A server can be chosen by pointer or by arrow keys.
import { useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { percent, seconds } from "../../shared/format";
import { Swatch } from "../../shared/swatch";
import { StrategyPicker } from "../controls/strategy";
import type { Description } from "../engine";
import { highlight, type Lane, lanes, selected, settings } from "../state";
import { Painter } from "./painter";
import { serverText } from "./words";

function Numbers({ lane }: { lane: Lane }) {
  const values = lane.metrics.value?.values ?? {};
  const failed = values["errors.ratio"];
  const rows: [string, string, boolean][] = [
    ["p50", seconds(values["latency.p50"]), false], ["p99", seconds(values["latency.p99"]), false], ["errors", failed == null ? "–" : percent(failed), (failed ?? 0) > 0.001],
  ];
  if (values["cache.hit_ratio"] != null) rows.push(["cache hits", percent(values["cache.hit_ratio"]), false]);
  return (
    <dl class="lane-numbers">
      {rows.map(([name, value, alarming]) => <div key={name}><dt>{name}</dt><dd class={alarming ? "alarming" : undefined}>{value}</dd></div>)}
    </dl>
  );
}

interface Props { lane: Lane; place: number; of: Description; active: Set<Painter> }

export function LaneView({ lane, place, of, active }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const painter = useRef<Painter | null>(null);
  const pointed = useSignal<number | null>(null);

  useLayoutEffect(() => {
    const node = host.current!;
    const one = new Painter(canvas.current!, lane, of, Math.max(240, node.clientWidth));
    painter.current = one;
    active.add(one);
    const observer = new ResizeObserver(() => one.resize(Math.max(240, node.clientWidth)));
    observer.observe(node);
    return () => {
      observer.disconnect();
      active.delete(one);
      one.dispose();
    };
  }, [lane, of]);

  useSignalEffect(() => {
    const chosen = selected.value;
    if (!painter.current) return;
    painter.current.chosen = chosen && chosen.lane === place ? chosen.server : null;
    painter.current.pointed = pointed.value;
    painter.current.wake();
  });
  useEffect(() => { painter.current?.wake(); }, [place]);

  const at = (event: PointerEvent | MouseEvent) => {
    const box = canvas.current!.getBoundingClientRect();
    return painter.current?.at(event.clientX - box.left, event.clientY - box.top) ?? null;
  };
  const choose = (server: number | null) => {
    if (server == null) {
      selected.value = null;
      return;
    }
    selected.value = { lane: place, server };
    settings.tab.value = "inspector";
  };
  const servers = of.pools.reduce((sum, pool) => sum + pool.servers.length, 0);
  const keyed = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const now = selected.value?.lane === place ? selected.value.server : null;
    if (step) selected.value = { lane: place, server: now == null ? (step > 0 ? 0 : servers - 1) : (now + step + servers) % servers };
    else if (event.key === "Enter" && now != null) choose(now);
    else if (event.key === "Escape" && now != null) selected.value = null;
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const mine = selected.value?.lane === place ? selected.value.server : null;
  const told = pointed.value ?? mine;
  const error = lane.error.value;
  return (
    <article class="lane" aria-label={`Lane ${place + 1}: ${lane.strategy}`} onPointerEnter={() => { highlight.value = lane.id; }} onPointerLeave={() => { highlight.value = null; }}>
      <header class="lane-head">
        <Swatch style={lane.style} />
        <StrategyPicker place={place} strategy={lane.strategy} removable={lanes.value.length > 1} />
      </header>
      <Numbers lane={lane} />
      <div class="lane-picture" ref={host} tabIndex={0} role="group" aria-roledescription="picture of servers"
        aria-label={`${servers} servers of ${lane.strategy}. Arrow keys choose a server, Enter looks into it.`} onKeyDown={keyed}>
        <canvas ref={canvas} aria-hidden="true" onPointerMove={(event) => { pointed.value = at(event); }} onPointerLeave={() => { pointed.value = null; }}
          onClick={(event) => choose(at(event))} />
      </div>
      {error
        ? <p class="lane-error" role="alert"><b>{error.message}</b> {error.help}</p>
        : <p class="lane-server">{told == null ? <span class="soft">Choose a server to see its numbers.</span> : <ServerLine lane={lane} of={of} server={told} />}</p>}
      <p class="unseen" aria-live="polite">{mine != null && lane.frame.value ? serverText(of, lane.frame.peek()!, mine) : ""}</p>
    </article>
  );
}

function ServerLine({ lane, of, server }: { lane: Lane; of: Description; server: number }) {
  const frame = lane.frame.value;
  return <>{frame ? serverText(of, frame, server) : ""}</>;
}
