// The life of a slow request, hop by hop: a bar whose parts are the places where it was, and the steps in words.
import { useSignal } from "@preact/signals";
import { at, seconds } from "../../shared/format";
import { hex } from "../../shared/palette";
import { dark } from "../../shared/theme";
import type { RequestLife } from "../model";
import { moment, shortName } from "../state";
import { untimed, Words } from "../text";

const PLACES = ["client", "network", "balancer", "balancer queue", "server queue", "service"];
const COLOURS: Record<string, number> = { balancer: 5, "balancer queue": 3, "server queue": 1, service: 0, network: 4 };

const index = (place: string) => COLOURS[place] ?? (PLACES.includes(place) ? 2 : 2);

/** Shorter than this is rounding. */
const SHORTEST = 1e-7;

interface Part { from: number; to: number; place: string }

/** Parts between steps; a step without duration has none. */
function parts(life: RequestLife): Part[] {
  const start = life.steps[0]?.at ?? 0;
  const end = Math.max(start + life.latency, life.steps[life.steps.length - 1]?.at ?? start);
  return life.steps.map((step, i) => ({ from: step.at - start, to: (life.steps[i + 1]?.at ?? end) - start, place: step.place })).filter((p) => p.to - p.from > SHORTEST);
}

function Life({ life }: { life: RequestLife }) {
  const all = parts(life);
  const total = Math.max(...all.map((p) => p.to), 1e-9);
  const start = life.steps[0]?.at ?? 0;
  const sums = new Map<string, number>();
  for (const p of all) sums.set(p.place, (sums.get(p.place) ?? 0) + p.to - p.from);
  const most = [...sums].sort((a, b) => b[1] - a[1]);
  const colour = (place: string) => hex({ colour: index(place), dash: 0, shape: 0 }, dark.value);
  return (
    <div class="life">
      <p class="life-head">
        {seconds(life.latency)}, {life.outcome.replaceAll("_", " ")}{life.path && <> on <span class="mono">{life.path}</span></>}
        {most[0] && <span class="soft">: {Math.round((most[0][1] / total) * 100)} % of it in: {most[0][0]}</span>}
      </p>
      <div class="life-bar" aria-hidden="true">
        {all.map((p, i) => {
          const share = ((p.to - p.from) / total) * 100;
          return <span key={i} class={`part place-${p.place.replaceAll(" ", "-")}`} title={`${p.place}: ${seconds(p.to - p.from)}`} style={{ width: `${share}%`, background: colour(p.place) }} />;
        })}
      </div>
      <p class="key">{most.map(([place, sum]) => <span key={place}><i class={`part place-${place.replaceAll(" ", "-")}`} style={{ background: colour(place) }} /> {place} {seconds(sum)}</span>)}</p>
      <ol class="steps">
        {life.steps.map((step, i) => (
          <li key={i}>
            <span class="step-time">+{seconds(step.at - start)}</span>
            <i class={`part place-${step.place.replaceAll(" ", "-")}`} style={{ background: colour(step.place) }} />
            <span><Words text={untimed(step.text).text} /></span>
          </li>
        ))}
      </ol>
      <button type="button" class="quiet" onClick={() => { moment.value = { at: start, text: at(start) }; }}>Mark {at(start)} in the charts</button>
    </div>
  );
}

function Side({ which, lives }: { which: number; lives: RequestLife[] }) {
  const chosen = useSignal(0);
  const life = lives[Math.min(chosen.value, lives.length - 1)];
  return (
    <div class="side">
      <h4>{shortName(which)}</h4>
      {life ? (
        <>
          {lives.length > 1 && (
            <label class="select">Request <select value={Math.min(chosen.value, lives.length - 1)} onChange={(event) => { chosen.value = Number(event.currentTarget.value); }}>
              {lives.map((one, i) => <option key={one.id} value={i}>{one.id}: {seconds(one.latency)}, {one.outcome.replaceAll("_", " ")}</option>)}
            </select></label>
          )}
          <Life life={life} />
        </>
      ) : <p class="note">None recorded.</p>}
    </div>
  );
}

export function Slowest({ members, of }: { members: number[]; of: (which: number) => RequestLife[] }) {
  if (!members.some((i) => of(i).length)) return null;
  return (
    <>
      <h3 class="sub">The slowest requests</h3>
      <div class={members.length > 1 ? "sides" : "sides one"}>{members.map((i) => <Side key={i} which={i} lives={of(i)} />)}</div>
    </>
  );
}
