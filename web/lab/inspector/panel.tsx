// The inspector of one lane: why this server, from what is given. It keeps no state of the run.
import { useId, useMemo } from "preact/hooks";
import { useSignal } from "@preact/signals";
import type { Why } from "../engine";
import { Inline } from "../../shared/inline";
import { at } from "../../shared/format";
import { identities, Patterns } from "./identity";
import { Placement } from "./placement";
import { hindsight, Servers } from "./servers";
import type { Moved } from "./shares";

export interface PanelProps {
  why: Why;
  leaving: number | null;
  moves: Moved | null;
  leave: (server: number | null) => void;
  /** The page plays: this changes all the time, and screen readers are left in peace. */
  live?: boolean;
  /** The strategy places keys, also where there is no ring or table to draw. */
  places?: boolean;
}

function Facts({ why }: { why: Why }) {
  const { request } = why;
  const facts: [string, string][] = [["time", at(why.time)], ["request", String(request.id)]];
  if (request.client) facts.push(["client", request.client]);
  if (request.path) facts.push(["path", request.path]);
  if (request.key && request.key !== request.client) facts.push(["key", request.key]);
  return <dl class="facts why-facts">{facts.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>;
}

export function Panel({ why, leaving, moves, leave, live, places }: PanelProps) {
  const prefix = `server${useId().replace(/\W/g, "")}`;
  const names = why.servers.map((s) => `${s.server}:${s.name}`).join("\n");
  const ids = useMemo(() => identities(why.servers), [names]);
  const hovered = useSignal<number | null>(null);
  const focus = (server: number | null) => { hovered.value = server; };
  const candidates = why.placement?.kind === "sample" ? why.placement.servers : [];
  const after = hindsight(why);
  return (
    <div class="why">
      <svg class="defs" width="0" height="0" aria-hidden="true"><Patterns of={[...ids.values()]} prefix={prefix} /></svg>
      <p class="why-sentence" aria-live={live ? "off" : "polite"}><Inline text={why.sentence} /></p>
      {after && <p class="why-after"><Inline text={after} /></p>}
      <Facts why={why} />
      <Placement why={why} ids={ids} prefix={prefix} hovered={hovered.value} focus={focus} leaving={leaving} moves={moves} leave={leave} places={places ?? false} />
      <Servers why={why} ids={ids} prefix={prefix} candidates={candidates} focus={focus} />
    </div>
  );
}
