// The servers at a decision: what the balancer sees, and beside it what it cannot see.
import type { Why } from "../engine";
import { NONE, seconds, significant } from "../../shared/format";
import { Scroll } from "../../shared/scroll";
import { Mark, type Identity } from "./identity";

type Server = Why["servers"][number];

interface Props {
  why: Why;
  ids: Map<number, Identity>;
  prefix: string;
  /** Servers that a random sample has drawn. */
  candidates: number[];
  focus: (server: number | null) => void;
}

/** Of more servers than this only the picked one, the candidates and those with the least work are shown. */
const MOST = 24;

/** `1st`, `2nd`, `3rd`, `4th`. */
export function ordinal(n: number): string {
  const tens = n % 100;
  return `${n}${tens > 10 && tens < 14 ? "th" : ["th", "st", "nd", "rd"][n % 10] ?? "th"}`;
}

/** Counts have no decimals. */
export const scoreText = (score: number | null): string =>
  score == null ? NONE : !Number.isFinite(score) ? "∞" : Number.isInteger(score) && Math.abs(score) < 1e6 ? String(score) : significant(score);

/** How good the pick was by what the balancer cannot see: rank among the eligible servers by work left. */
export function hindsight(why: Why): string | null {
  const able = why.servers.filter((s) => s.eligible && !s.excluded);
  const picked = able.find((s) => s.server === why.picked);
  if (!picked || able.length < 2) return null;
  const least = able.reduce((best, s) => (s.truth.work < best.truth.work ? s : best));
  if (picked.truth.work <= least.truth.work) {
    return picked.truth.work === 0 ? `By the work in the servers this was as good as any: ${picked.name} was idle.` : `By the work in the servers this was the best: ${picked.name} had the least, ${seconds(picked.truth.work)}.`;
  }
  const rank = able.filter((s) => s.truth.work < picked.truth.work).length + 1;
  return `By the work in the servers, which the balancer cannot see, ${picked.name} was the ${ordinal(rank)} of ${able.length}: it had ${seconds(picked.truth.work)} of work, ${least.name} ${least.truth.work === 0 ? "had none" : `only ${seconds(least.truth.work)}`}.`;
}

function Bar({ value, most, kind }: { value: number; most: number; kind: string }) {
  return <span class={`bar-track ${kind}`} aria-hidden="true"><span style={{ width: `${most > 0 ? Math.min(100, (value / most) * 100) : 0}%` }} /></span>;
}

function Name({ s, why, candidates, ids, prefix }: Omit<Props, "focus"> & { s: Server }) {
  const id = ids.get(s.server);
  const picked = s.server === why.picked;
  return (
    <th scope="row">
      <span class="server-name">
        <span class="pick-arrow" aria-hidden="true">{picked ? "→" : ""}</span>
        <span class="server-id">{id && <Mark id={id} prefix={prefix} />} {s.name}</span>
        {picked && <span class="tag picked-tag">picked</span>}
        {!picked && candidates.includes(s.server) && <span class="tag">candidate</span>}
        {!s.eligible && <span class="tag out-tag">not eligible</span>}
        {s.excluded && <span class="tag out-tag">already tried</span>}
      </span>
    </th>
  );
}

export function Servers({ why, ids, prefix, candidates, focus }: Props) {
  const scores = why.servers.some((s) => s.score != null);
  const weights = new Set(why.servers.map((s) => s.weight)).size > 1;
  const most = (of: (s: Server) => number) => Math.max(...why.servers.map(of), 0);
  const [flight, queued, serving, work] = [most((s) => s.in_flight), most((s) => s.truth.queued), most((s) => s.truth.in_service), most((s) => s.truth.work)];
  const score = most((s) => (s.score != null && Number.isFinite(s.score) ? s.score : 0));
  const named = (s: Server) => s.server === why.picked || candidates.includes(s.server);
  let shown = why.servers;
  if (shown.length > MOST) {
    const byWork = [...shown].sort((a, b) => Number(named(b)) - Number(named(a)) || a.truth.work - b.truth.work).slice(0, MOST);
    shown = shown.filter((s) => byWork.includes(s));
  }
  const seen = 1 + Number(weights) + Number(scores);
  return (
    <Scroll label="Servers at this decision" kind="decision-scroll">
      <table class="decision" onPointerLeave={() => focus(null)}>
        <caption class="unseen">What the balancer sees of each server, and what it cannot see</caption>
        <thead>
          <tr class="sides-row"><td /><th scope="colgroup" colSpan={seen} class="seen">the balancer sees</th><th scope="colgroup" colSpan={3} class="truth">the truth, which it cannot see</th></tr>
          <tr>
            <th scope="col">server</th><th scope="col" class="num" title="Requests that this balancer has sent and that are not answered yet.">in flight</th>
            {weights && <th scope="col" class="num">weight</th>}
            {scores && <th scope="col" class="num" title={why.score_meaning ?? undefined}>score</th>}
            <th scope="col" class="num truth first">queued</th><th scope="col" class="num truth minor">in service</th>
            <th scope="col" class="num truth" title="Seconds of service that the requests in the server still need.">work</th>
          </tr>
        </thead>
        <tbody>
          {shown.map((s) => (
            <tr key={s.server} class={`${s.server === why.picked ? "picked" : ""} ${s.eligible && !s.excluded ? "" : "out"}`} onPointerEnter={() => focus(s.server)}>
              <Name s={s} why={why} candidates={candidates} ids={ids} prefix={prefix} />
              <td class="num">{s.in_flight}<Bar value={s.in_flight} most={flight} kind="seen" /></td>
              {weights && <td class="num">{significant(s.weight)}</td>}
              {scores && <td class="num">{scoreText(s.score)}<Bar value={s.score ?? 0} most={score} kind="seen" /></td>}
              <td class="num truth first">{s.truth.queued}<Bar value={s.truth.queued} most={queued} kind="hidden" /></td>
              <td class="num truth minor">{s.truth.in_service}<Bar value={s.truth.in_service} most={serving} kind="hidden" /></td>
              <td class="num truth">{seconds(s.truth.work)}<Bar value={s.truth.work} most={work} kind="hidden" /></td>
            </tr>
          ))}
        </tbody>
      </table>
      {shown.length < why.servers.length && <p class="note">{why.servers.length - shown.length} servers with more work are not shown.</p>}
      {scores && why.score_meaning && <p class="note">Score: {why.score_meaning}</p>}
    </Scroll>
  );
}
