// What the lanes' numbers say, as a sentence. Screen readers hear it, at most every few seconds.
import { computed, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { percent, seconds } from "../../shared/format";
import { clock, description, type Lane, lanes, playing, progress } from "../state";

import { seek } from "../playback/session";
import { Replications } from "../charts/replications";

/** Nothing is measured yet. */
const warmingUp = computed(() => clock.value < (description.value?.warmup ?? 0));

/** Requests that a p99 should stand on: ten of them are slower. */
const ENOUGH = 1000;
/** Ratios below this are not told as a difference. */
const ALIKE = 1.05;

interface Value { lane: Lane; p99: number; errors: number; count: number }

function values(): Value[] {
  return lanes.value.flatMap((lane) => {
    const metrics = lane.metrics.value;
    const p99 = metrics?.values["latency.p99"];
    return metrics && p99 != null && metrics.count > 0 ? [{ lane, p99, errors: metrics.values["errors.ratio"] ?? 0, count: metrics.count }] : [];
  });
}

const times = (ratio: number) => `${ratio.toFixed(ratio < 9.95 ? 1 : 0)}x`;

function Latency({ all }: { all: Value[] }) {
  const sorted = [...all].sort((a, b) => a.p99 - b.p99);
  const [best, ...others] = sorted;
  if (!others.length) return <><code>{best.lane.strategy}</code> answers 99 % within <b>{seconds(best.p99)}</b>.</>;
  const worst = others[others.length - 1];
  if (worst.p99 < best.p99 * ALIKE) return <>All answer 99 % within about <b>{seconds(worst.p99)}</b>: no difference in this run.</>;
  return (
    <>
      <code>{best.lane.strategy}</code> answers 99 % within <b>{seconds(best.p99)}</b>
      {others.map((one, i) => (
        <span key={one.lane.id}>{i === others.length - 1 && i > 0 ? " and " : ", "}<code>{one.lane.strategy}</code> within <b>{seconds(one.p99)}</b>{others.length > 1 && one.p99 >= best.p99 * ALIKE && ` (${times(one.p99 / best.p99)})`}</span>
      ))}
      {others.length === 1 && <>: <b class="times">{times(worst.p99 / best.p99)}</b></>}.
    </>
  );
}

function Failures({ all }: { all: Value[] }) {
  const failing = [...all].sort((a, b) => a.errors - b.errors);
  const [least, most] = [failing[0], failing[failing.length - 1]];
  if (most.errors < 0.0005) return null;
  if (all.length === 1 || most.errors - least.errors < 0.0005) return <> {percent(most.errors)} of the requests fail.</>;
  return <> <code>{most.lane.strategy}</code> fails <b>{percent(most.errors)}</b> of the requests, <code>{least.lane.strategy}</code> {least.errors === 0 ? "none" : percent(least.errors)}.</>;
}

export function Difference() {
  const all = values();
  const spoken = useSignal("");
  useEffect(() => {
    // A live region that changes all the time is not heard to its end.
    const timer = setInterval(() => {
      const text = document.getElementById("difference")?.textContent ?? "";
      if (playing.peek() || spoken.peek() !== text) spoken.value = text;
    }, 6000);
    return () => clearInterval(timer);
  }, []);
  const of = description.value;
  if (!of) return null;
  const counts = lanes.value.map((lane) => lane.metrics.value?.count ?? 0);
  const least = Math.min(...counts);
  const warming = all.length === 0;
  return (
    <div class="difference-box">
      <p class="difference" id="difference">
        {progress.value != null ? <span class="soft">The lanes catch up with the clock…</span> : warming
          ? <span class="soft">{warmingUp.value ? <>Measurement starts at {of.warmup} s, when queues and caches have settled. <button type="button" class="link" onClick={() => void seek(of.warmup + 0.05 * of.duration)}>Go there</button></> : "No request has been measured yet."}</span>
          : <><Latency all={all} /><Failures all={all} /></>}
      </p>
      {!warming && progress.value == null && (
        <p class="note">
          {least < ENOUGH
            ? <><b class="warned">Small sample:</b> {least.toLocaleString("en")} requests. A p99 needs about {ENOUGH.toLocaleString("en")}; this number still moves.</>
            : <>{least.toLocaleString("en")} requests of one run, the same arrivals in every lane.</>}
        </p>
      )}
      <Replications />
      <p class="unseen" aria-live="polite">{spoken.value}</p>
    </div>
  );
}
