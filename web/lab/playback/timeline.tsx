// The run as a bar: warm-up, faults, acts, and where the clock is. Moving the clock back runs again from the start.
import { computed, useSignal } from "@preact/signals";
import { at } from "../../shared/format";
import { acts, clock, description, end, progress, stopAt } from "../state";
import { actText } from "../controls/acts";
import { actTime, seek } from "./session";

interface Mark { from: number; to: number | null; text: string; /** For charts, which have little room. */ short: string; own: boolean; load: boolean }

/** Seconds from a duration such as "5s". */
export function duration(text: string | undefined): number | null {
  const m = /^([\d.]+)\s*(ms|s|m|min|h)$/.exec(text ?? "");
  return m ? Number(m[1]) * { ms: 0.001, s: 1, m: 60, min: 60, h: 3600 }[m[2] as "s"] : null;
}

export function marks(): Mark[] {
  const of = description.value;
  if (!of) return [];
  const own = acts.value.map((one): Mark => {
    const from = actTime(one);
    const lasts = "strike" in one.act ? duration(one.act.strike.for) : null;
    return { from, to: lasts == null ? null : from + lasts, text: actText(one.act), short: actText(one.act), own: true, load: "set_load" in one.act };
  });
  return [...of.faults.map((one): Mark => ({ from: one.at, to: one.for == null ? null : one.at + one.for, text: one.sentence, short: `${one.kind.replaceAll("_", " ")} ${one.target.split("/").pop()}`, own: false, load: false })), ...own];
}

const allMarks = computed(marks);

/** Marks change seldom, the clock with each picture. */
function Marks() {
  const whole = end.value || 1;
  const share = (time: number) => `${(100 * Math.min(1, Math.max(0, time / whole))).toFixed(3)}%`;
  const warmup = description.value?.warmup ?? 0;
  return (
    <>
      {warmup > 0 && <i class="warm" style={{ width: share(warmup) }} title={`warm-up until ${warmup} s: not measured`} />}
      {allMarks.value.map((one, i) => (
        <i key={i} class={`mark${one.own ? " own" : ""}${one.load ? " load" : ""}`} style={{ left: share(one.from), width: one.to == null ? undefined : share(one.to - one.from) }} title={`${at(one.from)}: ${one.text}`} />
      ))}
      {stopAt.value != null && stopAt.value < whole && <i class="stop" style={{ left: share(stopAt.value) }} />}
    </>
  );
}

export function Timeline() {
  const dragging = useSignal(false);
  const whole = end.value || 1;
  const share = (time: number) => `${(100 * Math.min(1, Math.max(0, time / whole))).toFixed(3)}%`;
  const now = clock.value;
  return (
    <div class="timeline" data-busy={progress.value != null ? "" : undefined}>
      <div class="timeline-bar" aria-hidden="true">
        <Marks />
        <i class="done" style={{ width: share(now) }} />
        {progress.value != null && <i class="catching" style={{ width: `${100 * progress.value}%` }} />}
      </div>
      <input type="range" class="scrub" min={0} max={whole} step={whole / 1000} value={now} aria-label="Time of the run" aria-valuetext={`${at(now)} of ${at(whole)}`}
        onInput={(event) => { dragging.value = true; void seek(Number(event.currentTarget.value)); }} onChange={() => { dragging.value = false; }} />
    </div>
  );
}
