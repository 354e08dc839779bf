// The lookup table of Maglev and its like: every entry names a server, and a key's hash chooses the entry.
import { useLayoutEffect, useRef } from "preact/hooks";
import { dark } from "../../shared/theme";
import { useWidth } from "../../shared/width";
import { colourOf, inkOn, type Identity } from "./identity";
import { Strip, type Cell } from "./strip";

interface Props {
  /** Server of each entry, -1 for none; of a large table only some entries. */
  entries: number[];
  /** Entries of the whole table. */
  size: number;
  /** Place of the key's entry among those shown. */
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

export function Grid({ entries, size, at, ids, focus, keyText }: Props) {
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
    if (at >= 0 && at < entries.length) {
      const [x, y] = [(at % columns) * cell, Math.floor(at / columns) * cell];
      for (const [colour, line, out] of [[style.getPropertyValue("--ground"), 4.5, 2], [style.getPropertyValue("--ink"), 2, 2]] as const) {
        ctx.strokeStyle = colour;
        ctx.lineWidth = line;
        ctx.strokeRect(x - out + 0.5, y - out + 0.5, cell + 2 * out - 1 - gap, cell + 2 * out - 1 - gap);
      }
    }
  }, [entries, columns, cell, rows, focus, at, isDark, ids]);
  const all = entries.length === size;
  const count = size.toLocaleString("en");
  return (
    <div class="grid-host" ref={host}>
      <canvas ref={canvas} role="img" aria-label={`Table of ${count} entries${all ? "" : `, ${entries.length} of them shown`}; each names a server. The frame is at the entry of ${keyText}.`}
        style={{ width: `${columns * cell + 2 * margin}px`, height: `${rows * cell + 2 * margin}px`, margin: `-${margin}px` }} />
      <p class="note">{all ? `All ${count} entries` : `${entries.length.toLocaleString("en")} of ${count} entries`}, row by row. The frame marks the key's entry.</p>
    </div>
  );
}

/** Entries on each side of the key's. */
const BESIDE = 4;

/** The entries around the key's; that alone where its neighbours are left out of the picture. */
export function GridStrip({ entries, size, at, picked, ids, keyText, prefix }: Props) {
  const beside = entries.length === size ? BESIDE : 0;
  const first = Math.max(0, Math.min(at - beside, entries.length - 2 * beside - 1));
  const cells: Cell[] = [];
  for (let i = first; i < Math.min(entries.length, first + 2 * beside + 1); i++) {
    const id = ids.get(entries[i]);
    if (!id) return null;
    const mine = i === at;
    cells.push({ id, ...(mine ? { state: id.server === picked ? "picked" as const : "passed" as const } : {}), note: beside && (mine || i === first || i === first + 2 * beside) ? String(i) : "" });
  }
  return <Strip cells={cells} pin={at - first + 0.5} pinText={keyText} open prefix={prefix} label={`${keyText}: its entry names ${ids.get(entries[at])?.name}.`} />;
}
