// The lookup table of Maglev and its like: every entry names a server, and a key's hash chooses the entry.
import { useLayoutEffect, useRef } from "preact/hooks";
import { dark } from "../../shared/theme";
import { useWidth } from "../../shared/width";
import { colourOf, inkOn, type Identity } from "./identity";
import { Strip, type Cell } from "./strip";

interface Props {
  entries: number[];
  /** Number of the first entry shown. */
  from: number;
  size: number;
  /** Number of the key's entry. */
  at: number;
  picked: number | null;
  ids: Map<number, Identity>;
  focus: number | null;
  keyText: string;
  prefix: string;
}

/** From this size on a cell has its server's label. */
const LABEL_FROM = 17;
const LARGEST = 30;

/** Entries per row and the size of a cell: about as high as wide, at most `LARGEST`. */
export function layout(count: number, width: number): { columns: number; cell: number } {
  const columns = Math.max(1, Math.min(count, Math.max(Math.floor(width / LARGEST), Math.ceil(Math.sqrt(count * 1.25)))));
  return { columns, cell: Math.min(LARGEST, width / columns) };
}

export function Grid({ entries, from, size, at, ids, focus, keyText }: Props) {
  const { host, width } = useWidth<HTMLDivElement>(420);
  const canvas = useRef<HTMLCanvasElement>(null);
  const { columns, cell } = layout(entries.length, width);
  const rows = Math.ceil(entries.length / columns);
  const margin = 4;
  const isDark = dark.value;
  useLayoutEffect(() => {
    const node = canvas.current!;
    const ratio = devicePixelRatio || 1;
    const [w, h] = [columns * cell + 2 * margin, rows * cell + 2 * margin];
    node.width = Math.round(w * ratio);
    node.height = Math.round(h * ratio);
    const ctx = node.getContext("2d")!;
    ctx.scale(ratio, ratio);
    ctx.translate(margin, margin);
    const gap = cell > 9 ? 1 : cell > 5 ? 0.5 : 0;
    const style = getComputedStyle(document.documentElement);
    ctx.font = `600 ${Math.min(12, cell * 0.55)}px ${style.getPropertyValue("--font")}`;
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    entries.forEach((server, i) => {
      const id = ids.get(server);
      const [x, y] = [(i % columns) * cell, Math.floor(i / columns) * cell];
      ctx.globalAlpha = focus != null && focus !== server ? 0.14 : 1;
      ctx.fillStyle = id ? colourOf(id) : "gray";
      ctx.fillRect(x, y, cell - gap, cell - gap);
      if (!id) return;
      if (cell >= LABEL_FROM) {
        ctx.fillStyle = inkOn(colourOf(id));
        ctx.fillText(id.short, x + (cell - gap) / 2, y + (cell - gap) / 2 + 0.5);
      } else if (id.pattern && cell >= 4) {
        // A corner, a dot, another corner: enough to tell two servers of the same colour apart.
        ctx.fillStyle = inkOn(colourOf(id));
        const s = cell - gap;
        ctx.beginPath();
        if (id.pattern === 1) { ctx.moveTo(x, y); ctx.lineTo(x + s * 0.6, y); ctx.lineTo(x, y + s * 0.6); }
        else if (id.pattern === 2) ctx.arc(x + s / 2, y + s / 2, s * 0.22, 0, 7);
        else { ctx.moveTo(x + s, y + s); ctx.lineTo(x + s * 0.4, y + s); ctx.lineTo(x + s, y + s * 0.4); }
        ctx.fill();
      }
    });
    ctx.globalAlpha = 1;
    const here = at - from;
    if (here >= 0 && here < entries.length) {
      const [x, y] = [(here % columns) * cell, Math.floor(here / columns) * cell];
      for (const [colour, line, out] of [[style.getPropertyValue("--ground"), 4.5, 2], [style.getPropertyValue("--ink"), 2, 2]] as const) {
        ctx.strokeStyle = colour;
        ctx.lineWidth = line;
        ctx.strokeRect(x - out + 0.5, y - out + 0.5, cell + 2 * out - 1 - gap, cell + 2 * out - 1 - gap);
      }
    }
  }, [entries, columns, cell, rows, focus, at, from, isDark, ids]);
  const part = entries.length < size ? `, entries ${from} to ${from + entries.length - 1} of ${size}` : ` of ${size} entries`;
  return (
    <div class="grid-host" ref={host}>
      <canvas ref={canvas} role="img" aria-label={`Table${part}; each names a server. ${keyText} has entry ${at}.`}
        style={{ width: `${columns * cell + 2 * margin}px`, height: `${rows * cell + 2 * margin}px`, margin: `-${margin}px` }} />
      <p class="note">{entries.length < size ? <>Entries {from.toLocaleString("en")} to {(from + entries.length - 1).toLocaleString("en")} of {size.toLocaleString("en")}, row by row.</> : <>All {size.toLocaleString("en")} entries, row by row.</>} The frame marks the key's entry.</p>
    </div>
  );
}

/** The entries around the key's. */
export function GridStrip({ entries, from, at, picked, ids, keyText, prefix }: Props) {
  const here = at - from;
  if (here < 0 || here >= entries.length) return null;
  const first = Math.max(0, Math.min(here - 4, entries.length - 9));
  const cells: Cell[] = [];
  for (let i = first; i < Math.min(entries.length, first + 9); i++) {
    const id = ids.get(entries[i]);
    if (!id) return null;
    const mine = i === here;
    cells.push({ id, ...(mine ? { state: id.server === picked ? "picked" as const : "passed" as const } : {}), note: mine || i === first || i === first + 8 ? String(from + i) : "" });
  }
  return <Strip cells={cells} pin={here - first + 0.5} pinText={keyText} open prefix={prefix} label={`${keyText}: entry ${at} names ${ids.get(entries[here])?.name}.`} />;
}
