// The control bar: start, one event, play, speed, time.
import { at } from "../../shared/format";
import { clock, description, end, lanes, playing, progress, reached, speed } from "../state";
import { lastEvent, oneEvent, restart, toggle } from "./driver";
import { FASTEST, presets, SLOWEST, speedText } from "./speeds";
import { Timeline } from "./timeline";

const ICONS = {
  restart: "M4 3h2v10H4zM14 3v10L7 8z",
  play: "M4 2.5v11l9.5-5.5z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  step: "M3 3v10l6-5zM10 3h3v10h-3z",
};

export const Icon = ({ of }: { of: keyof typeof ICONS }) => <svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true"><path d={ICONS[of]} fill="currentColor" /></svg>;

function Speed() {
  const log = Math.log10(speed.value);
  const behind = playing.value && reached.value < speed.value * 0.7;
  return (
    <div class="speed">
      <div class="segmented" role="group" aria-label="Speed presets">
        {presets.value.map((one) => (
          <button type="button" key={one.name} title={`${speedText(one.speed)}: ${one.doc}`} aria-pressed={Math.abs(Math.log(speed.value / one.speed)) < 0.02} onClick={() => { speed.value = one.speed; }}>{one.name}</button>
        ))}
      </div>
      <label class="speed-slider">
        <span class="unseen">Speed</span>
        <input type="range" min={Math.log10(SLOWEST)} max={Math.log10(FASTEST)} step={0.05} value={log} aria-valuetext={`${speedText(speed.value)} real time`}
          onInput={(event) => { speed.value = Number((10 ** Number(event.currentTarget.value)).toPrecision(2)); }} />
        <output title={behind ? `The processor reaches ${speedText(reached.value)}.` : "seconds of the run per second"}>{behind ? `${speedText(reached.value)} of ${speedText(speed.value)}` : speedText(speed.value)}</output>
      </label>
    </div>
  );
}

/** Changes with each picture, unlike the rest of the bar. */
function Now() {
  const over = lanes.value.length > 0 && lanes.value.every((lane) => lane.over.value) && clock.value >= end.value - 1e-9;
  return <p class="time-now"><b>{at(clock.value)}</b> <span class="soft">of {at(end.value)}{clock.value < description.value!.warmup ? ", warm-up" : over ? ", the run is over" : ""}</span></p>;
}

export function Transport() {
  if (!description.value) return null;
  return (
    <div class="transport" role="group" aria-label="Playback">
      <div class="transport-in">
        <Timeline />
        <div class="transport-row">
          <div class="buttons">
            <button type="button" class="round" aria-label="Back to the start" title="Back to the start (R)" onClick={() => void restart()}><Icon of="restart" /></button>
            <button type="button" class="round play" aria-label={playing.value ? "Pause" : "Play"} title={playing.value ? "Pause (space)" : "Play (space)"} onClick={toggle}><Icon of={playing.value ? "pause" : "play"} /></button>
            <button type="button" class="round" aria-label="One event" title="One event (.)" onClick={() => void oneEvent()}><Icon of="step" /></button>
          </div>
          <Now />
          <p class="event-now" role="status">{progress.value != null ? `catching up: ${Math.round(100 * progress.value)} %` : lastEvent.value}</p>
          <Speed />
        </div>
      </div>
    </div>
  );
}
