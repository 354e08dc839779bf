// The lanes beside each other, and the sentence that says how they differ.
import { useEffect } from "preact/hooks";
import { signal } from "@preact/signals";
import { description, lanes } from "../state";
import { painters } from "../playback/driver";
import { Difference } from "./difference";
import { LaneView } from "./lane";
import { Legend } from "./legend";
import type { Painter } from "./painter";

/** Painters of the lanes that are shown. */
export const active = new Set<Painter>();
/** Milliseconds that drawing all lanes takes; a moving average. */
export const drawCost = signal(0);

/** If drawing takes longer than this, every second picture is left out: the simulation goes on. */
const SLOW = 11;

let odd = false;

function paintAll(now: number): void {
  odd = !odd;
  if (drawCost.peek() > SLOW && odd) return;
  const started = performance.now();
  let drawn = false;
  for (const painter of active) drawn = painter.paint(now) || drawn;
  if (drawn) drawCost.value += 0.1 * (performance.now() - started - drawCost.peek());
}

export function Stage() {
  useEffect(() => {
    painters.add(paintAll);
    return () => { painters.delete(paintAll); };
  }, []);
  const all = lanes.value;
  if (!description.value || !all.length) return null;
  return (
    <section class="stage" aria-label="Lanes">
      <div class="lanes" data-count={all.length}>
        {all.map((lane, place) => <LaneView key={lane.id} lane={lane} place={place} of={description.value!} active={active} />)}
      </div>
      <Legend active={active} />
      <Difference />
    </section>
  );
}
