// Picks with what the balancer counted and the strategy's scores beside the truth.
import { useSignal } from "@preact/signals";
import { at, significant } from "../../shared/format";
import type { PickView } from "../model";
import { moment, shortName } from "../state";
import { untimed, Words } from "../text";
import { Scroll } from "../../shared/scroll";

/** Of more servers than this only the first by score are shown. */
const MOST = 12;

function Pick({ pick }: { pick: PickView }) {
  const scores = pick.servers.some((s) => s.score != null);
  const weights = new Set(pick.servers.map((s) => s.weight)).size > 1;
  const most = Math.max(1, ...pick.servers.map((s) => Math.max(s.truth, s.in_flight)));
  const order = [...pick.servers].sort((a, b) => Number(b.server === pick.picked) - Number(a.server === pick.picked));
  const servers = pick.servers.length > MOST ? order.slice(0, MOST) : pick.servers;
  return (
    <Scroll label={`Servers at ${at(pick.time)}`}>
      <table class="numbers picks">
        <thead><tr>
          <th scope="col">server</th>{weights && <th scope="col">weight</th>}<th scope="col" title="What the balancer counts.">in flight (this balancer)</th><th scope="col" title="Requests in the server, those of other balancers included.">in server (all)</th>{scores && <th scope="col" title="lower is better">score</th>}
        </tr></thead>
        <tbody>
          {servers.map((s) => (
            <tr key={s.server} class={s.server === pick.picked ? "picked" : s.eligible ? undefined : "out"}>
              <th scope="row">{s.server === pick.picked && <span aria-hidden="true">→ </span>}{s.server}{s.server === pick.picked && <span class="tag">picked</span>}{!s.eligible && <span class="tag">not eligible</span>}</th>
              {weights && <td>{significant(s.weight)}</td>}
              <td>{s.in_flight}</td>
              <td><span class="truth-bar" aria-hidden="true" style={{ width: `${(s.truth / most) * 3.5}rem` }} /> {s.truth}</td>
              {scores && <td>{significant(s.score)}</td>}
            </tr>
          ))}
        </tbody>
      </table>
      {pick.servers.length > servers.length && <p class="note">and {pick.servers.length - servers.length} more servers</p>}
    </Scroll>
  );
}

function Side({ which, picks }: { which: number; picks: PickView[] }) {
  const chosen = useSignal(0);
  const n = Math.min(chosen.value, picks.length - 1);
  const pick = picks[n];
  if (!pick) return <div class="side"><h4>{shortName(which)}</h4><p class="note">None recorded.</p></div>;
  return (
    <div class="side">
      <h4>{shortName(which)}</h4>
      <div class="stepper">
        <button type="button" class="quiet" disabled={n === 0} onClick={() => { chosen.value = n - 1; }}>Previous</button>
        <span>pick {n + 1} of {picks.length}</span>
        <button type="button" class="quiet" disabled={n === picks.length - 1} onClick={() => { chosen.value = n + 1; }}>Next</button>
        <button type="button" class="time" onClick={() => { moment.value = { at: pick.time, text: at(pick.time) }; }} aria-label={`${at(pick.time)}: mark in the charts`}>{at(pick.time)}</button>
      </div>
      <p class="pick-text"><Words text={untimed(pick.text).text} /></p>
      <Pick pick={pick} />
    </div>
  );
}

export function Picks({ members, of }: { members: number[]; of: (which: number) => PickView[] }) {
  if (!members.some((i) => of(i).length)) return null;
  return (
    <>
      <h3 class="sub">Picks</h3>
      <div class={members.length > 1 ? "sides" : "sides one"}>{members.map((i) => <Side key={i} which={i} picks={of(i)} />)}</div>
    </>
  );
}
