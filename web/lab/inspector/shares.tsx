// Share of the keys of each server, and what happens to it when one leaves.
import type { Moves } from "../engine";
import { percent } from "../../shared/format";
import { fillOf, Mark, type Identity } from "./identity";

interface Props {
  ids: Map<number, Identity>;
  /** Share 0..1 of each server now: of the circle, of the table's entries; null where only the strategy knows. */
  shares: Map<number, number> | null;
  what: string;
  /** The server that leaves, and what that moves; null while nothing is asked or the answer is not there yet. */
  leaving: number | null;
  moves: Moved | null;
  leave: (server: number | null) => void;
  focus: (server: number | null) => void;
  prefix: string;
}

/** Shares of the keys, by server. */
export interface Moved {
  before: Map<number, number>;
  after: Map<number, number>;
  /** Share of the keys that have another server afterwards, and of those that had to move. */
  moved: number;
  ideal: number;
}

/** The engine counts keys per server of the pool, from the pool's first server on. */
export function moved(moves: Moves, first: number): Moved {
  const shares = (counts: number[]) => {
    const sum = counts.reduce((a, b) => a + b, 0) || 1;
    return new Map(counts.map((count, i) => [first + i, count / sum]));
  };
  return { before: shares(moves.before), after: shares(moves.after), moved: moves.moved, ideal: moves.ideal };
}

/** What moves, in a sentence with the numbers. */
export function movesSentence(moves: Moved, name: string, servers: number): string {
  const must = `${percent(moves.ideal)} of the keys are at ${name} and must move (1/${servers} is ${percent(1 / servers)})`;
  const extra = moves.moved - moves.ideal;
  const verdict = extra <= Math.max(0.002, moves.ideal * 0.03) ? "no other key moves" : `in all ${percent(moves.moved)} change their server, ${(moves.moved / Math.max(moves.ideal, 1e-9)).toFixed(1)} times as many`;
  return `If ${name} leaves: ${must}; ${verdict}.`;
}

export function Shares({ ids, shares, what, leaving, moves, leave, focus, prefix }: Props) {
  const now = (server: number) => moves?.before.get(server) ?? shares?.get(server) ?? 0;
  const after = (server: number) => moves?.after.get(server) ?? 0;
  const list = [...ids.values()];
  const most = Math.max(0.0001, ...list.map((id) => Math.max(now(id.server), moves ? after(id.server) : 0)));
  const fair = 1 / Math.max(1, list.length);
  const scale = Math.max(most, fair) * 1.04;
  const name = leaving == null ? "" : ids.get(leaving)?.name ?? "";
  return (
    <div class="shares" onPointerLeave={() => focus(null)}>
      <h4>{what}</h4>
      <p class="note" aria-live="polite">
        {moves && leaving != null ? movesSentence(moves, name, list.length) : leaving != null ? "Asking the strategy …" : <>Choose a server to see which keys move when it leaves.{shares && ` The line marks 1/${list.length}.`}</>}
      </p>
      <ul>
        {list.map((id) => {
          const gone = leaving === id.server;
          return (
            <li key={id.server} onPointerEnter={() => focus(id.server)} class={gone ? "gone" : undefined}>
              <button type="button" class="share-name" aria-pressed={gone} title={gone ? `${id.name} stays` : `What moves when ${id.name} leaves`} onFocus={() => focus(id.server)} onBlur={() => focus(null)}
                onClick={() => leave(gone ? null : id.server)}>
                <Mark id={id} prefix={prefix} /> <span>{id.name}</span>
              </button>
              <svg class="share-bars" width="100%" height={moves ? 22 : 14} aria-hidden="true" preserveAspectRatio="none">
                <rect x="0" y={moves ? 1 : 2} height={moves ? 8 : 10} width={`${(now(id.server) / scale) * 100}%`} fill={fillOf(id, prefix)} rx="1.5" class={moves ? "before" : undefined} />
                {moves && <rect x="0" y="12" height="8" width={`${(after(id.server) / scale) * 100}%`} fill={fillOf(id, prefix)} rx="1.5" />}
                <line class="share-fair" x1={`${(fair / scale) * 100}%`} x2={`${(fair / scale) * 100}%`} y1="0" y2="100%" />
              </svg>
              <span class="share-value">{!moves && !shares ? "" : moves ? <><span class="soft">{percent(now(id.server))} →</span> {gone ? "leaves" : percent(after(id.server))}</> : percent(now(id.server))}</span>
            </li>
          );
        })}
      </ul>
      {leaving != null && <button type="button" class="quiet" onClick={() => leave(null)}>{name} stays</button>}
    </div>
  );
}
