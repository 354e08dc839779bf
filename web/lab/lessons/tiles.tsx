// The lesson's metrics, one tile each: the value of every strategy, so far or of the whole run.
import type { Catalog } from "../engine";
import { Swatch } from "../../shared/swatch";
import type { Style } from "../../shared/palette";
import { best, few, labelOf, type Measured, metricOf, needed, valueText } from "./numbers";

/** Where the metrics scroll sideways, so that the keyboard must reach them. */
const narrow = window.matchMedia("(max-width: 44rem)");

export interface Subject { strategy: string; style: Style; run: Measured | null }

interface Props { catalog: Catalog | null; focus: string[]; subjects: Subject[]; /** The run is over: the values do not move any more. */ over: boolean }

function Tile({ metric, catalog, subjects }: Omit<Props, "focus" | "over"> & { metric: string }) {
  const values = new Map(subjects.map((s) => [s.strategy, s.run?.values[metric]]));
  const winner = subjects.every((s) => s.run && !few(metric, s.run.count)) ? best(catalog, metric, values) : null;
  const most = Math.max(0, ...[...values.values()].map((v) => Math.abs(v ?? 0)));
  const about = metricOf(catalog, metric);
  return (
    <li class="tile">
      <h4 title={about?.doc}>{labelOf(catalog, metric)}{about && about.direction !== "neither" && <small class="soft"> {about.direction} is better</small>}</h4>
      <dl>
        {subjects.map((s) => {
          const value = values.get(s.strategy);
          const unsure = s.run != null && few(metric, s.run.count);
          return (
            <div key={s.strategy} class={s.strategy === winner ? "tile-row best" : "tile-row"}>
              <dt><Swatch style={s.style} /> <span>{s.strategy}</span></dt>
              <dd title={s.run ? `from ${s.run.count.toLocaleString("en")} requests${unsure ? `; ${needed(metric).toLocaleString("en")} are needed for a settled value` : ""}` : undefined}>
                {unsure && value != null && <span class="soft" aria-label="about">≈ </span>}{valueText(catalog, metric, value)}{s.strategy === winner && <span class="best-mark"> best</span>}
              </dd>
              <dd class="tile-bar" aria-hidden="true"><span style={{ width: `${most > 0 ? (Math.abs(value ?? 0) / most) * 100 : 0}%` }} /></dd>
            </div>
          );
        })}
      </dl>
    </li>
  );
}

/** How far the values can be relied on, in a sentence. */
export function trust(focus: string[], subjects: Subject[], over: boolean): string {
  const least = Math.min(...subjects.map((s) => s.run?.count ?? 0));
  if (!Number.isFinite(least) || least === 0) return "No request is measured yet.";
  const unsure = focus.filter((metric) => few(metric, least));
  const count = `${least.toLocaleString("en")} requests ${over ? "are" : "have been"} measured per strategy${over ? "" : " so far"}.`;
  return unsure.length ? `${count} That is few: values with ≈ would be clearly different with another seed.` : `${count} One run, one seed: small differences mean nothing.`;
}

export function Tiles({ catalog, focus, subjects, over }: Props) {
  if (!focus.length || !subjects.length) return null;
  return (
    <div class="tiles">
      <ul tabIndex={narrow.matches ? 0 : undefined} aria-label="Metrics to watch">{focus.map((metric) => <Tile key={metric} metric={metric} catalog={catalog} subjects={subjects} />)}</ul>
      <p class="note">{trust(focus, subjects, over)}</p>
    </div>
  );
}
