// A row of cells with the key's position and the way from there to the picked server: a piece of a ring, of a table or of an order.
import { useWidth } from "../../shared/width";
import { colourOf, fillOf, inkOn, type Identity } from "./identity";

export interface Cell { id: Identity; /** Below the cell: why it is passed, or what it is. */ note?: string; state?: "picked" | "passed" | "next" }

interface Props {
  cells: Cell[];
  /** Where the key is, in cells from the left: 2.5 is the middle of the third. */
  pin: number;
  pinText: string;
  /** Where the way ends; absent: straight down. */
  to?: number;
  /** Cells go on beyond the edge. */
  open: boolean;
  prefix: string;
  label: string;
}

const TOP = 44;
const HEIGHT = 40;

export function Strip({ cells, pin, pinText, to, open, prefix, label }: Props) {
  const { host, width } = useWidth<HTMLDivElement>(480);
  const size = Math.min(76, (width - 2) / cells.length);
  const left = 1;
  const x = (at: number) => left + at * size;
  const notes = cells.some((cell) => cell.note);
  const total = size * cells.length + 2;
  const anchor = pin * size < 70 ? "start" : total - pin * size < 70 ? "end" : "middle";
  const end = to ?? pin;
  return (
    <div class="key-strip" ref={host} role="img" aria-label={label}>
      <svg width={total} height={TOP + HEIGHT + (notes ? 22 : 4)} aria-hidden="true">
        {cells.map((cell, i) => (
          <g key={i} class={cell.state === "passed" ? "cell passed" : "cell"}>
            <rect x={x(i) + 0.5} y={TOP} width={size - 1} height={HEIGHT} rx="2" fill={fillOf(cell.id, prefix)} />
            {cell.id.pattern > 0 && <rect x={x(i + 0.5) - 13} y={TOP + 10} width="26" height="20" rx="3" fill={colourOf(cell.id)} />}
            <text x={x(i + 0.5)} y={TOP + 25} text-anchor="middle" class="cell-name" fill={inkOn(colourOf(cell.id))}>{cell.id.short}</text>
            {cell.state === "picked" && <rect class="cell-picked" x={x(i) + 1} y={TOP} width={size - 2} height={HEIGHT} rx="3" />}
            {cell.note && <text class="cell-note" x={x(i + 0.5)} y={TOP + HEIGHT + 16} text-anchor="middle">{cell.note}</text>}
          </g>
        ))}
        {open && [0, total].map((at) => <line key={at} class="cell-open" x1={at} x2={at} y1={TOP + 2} y2={TOP + HEIGHT - 2} />)}
        <text class="pin-text" x={x(pin)} y="12" text-anchor={anchor}>{pinText}</text>
        <path class="pin-line" d={end === pin ? `M${x(pin)} 18V${TOP - 6}` : `M${x(pin)} 18V${TOP - 14}H${x(end)}V${TOP - 6}`} />
        <path class="pin-head" d={`M${x(end)} ${TOP - 1}l-5 -7h10Z`} />
        {end !== pin && <circle class="pin-dot" cx={x(pin)} cy={TOP - 14} r="3.5" />}
      </svg>
    </div>
  );
}
