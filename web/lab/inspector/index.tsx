// Looks into a lane: why a server was chosen, and which keys move when one leaves. Decisions are collected while it is open.
import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import "./inspector.css";
import { toggle } from "../playback/driver";
import { catalog, clock, description, type Lane, playing, request, settings } from "../state";
import { Decisions } from "./decisions";
import { Panel } from "./panel";
import { type Moved, moved } from "./shares";

/** How often the last decision is shown while the page plays, in milliseconds. */
const EVERY = 900;

/** Whether a strategy places keys, so that it can be asked what moves. */
function hashes(label: string): boolean {
  const name = description.value?.strategies.find((one) => one.label === label)?.name ?? label.split("(")[0];
  return /hash/.test(catalog.value?.strategies.find((one) => one.name === name)?.family ?? "");
}

function useMoves(lane: Lane, asked: boolean) {
  const leaving = useSignal<number | null>(null);
  const moves = useSignal<Moved | null>(null);
  const leave = (server: number | null) => {
    leaving.value = server;
    moves.value = null;
    if (server == null) return;
    const first = description.value?.pools.filter((pool) => pool.first <= server).pop()?.first ?? 0;
    void lane.client.moves(server).then((found) => { if (found && leaving.value === server) moves.value = moved(found, first); }).catch(() => {});
  };
  useEffect(() => { if (!asked) leave(null); }, [asked, lane]);
  return { leaving: leaving.value, moves: moves.value, leave };
}

export function Inspector({ lane }: { lane: Lane }) {
  const decisions = useMemo(() => new Decisions(lane), [lane]);
  const places = hashes(lane.strategy);
  const moving = useMoves(lane, places);
  useEffect(() => {
    settings.trace.value = true;
    const clear = () => decisions.clear();
    lane.resets.add(clear);
    return () => {
      settings.trace.value = false;
      lane.resets.delete(clear);
    };
  }, [lane]);
  useEffect(() => {
    // A jump in time or a pause shows what was decided last; a running page only now and then.
    if (!playing.value) { void decisions.look(); return; }
    const timer = setInterval(() => void decisions.look(), EVERY);
    return () => clearInterval(timer);
  }, [playing.value, lane, lane.time]);
  const asked = request.value;
  useEffect(() => { if (asked) void decisions.look(asked.job); }, [asked, lane]);
  void clock.value;
  const why = decisions.now;
  const [place, count] = [decisions.place.value, decisions.seen.value.length];
  return (
    <section class="inspector" aria-labelledby="inspector-h">
      <h3 id="inspector-h">Why this server? <code>{lane.strategy}</code></h3>
      <div class="inspector-bar">
        <button type="button" class="quiet" aria-pressed={playing.value} onClick={toggle}>{playing.value ? "Pause" : "Play"}</button>
        <button type="button" class="quiet" disabled={place === 0 || count === 0} onClick={() => decisions.back()}>Previous</button>
        <button type="button" class="primary" disabled={decisions.busy.value} onClick={() => void decisions.next()}>Next decision</button>
        <span class="inspector-count">{count > 1 && place < count - 1 ? `${count - 1 - place} before the last one` : why ? "the last decision" : ""}</span>
      </div>
      {why
        ? <Panel why={why} live={playing.value} places={places} {...moving} />
        : <p class="inspector-empty">{decisions.ended.value ? "The run is over: there is no further decision." : "No decision has been recorded yet. Play, or go to the next decision."}</p>}
    </section>
  );
}
