// Values of TOML as a control shows them: a number in the unit of the control, or a text.
import type { Control } from "../engine";

type Shape = Control["shape"];
type NumberShape = Extract<Shape, { kind: "number" }>;

const SECONDS: Record<string, number> = { ns: 1e-9, us: 1e-6, "µs": 1e-6, ms: 1e-3, s: 1, m: 60, min: 60, h: 3600 };

const bare = (value: string): string => value.trim().replace(/^"(.*)"$/, "$1");

/** The number that a TOML value is in the unit of the shape; null if it is none. */
export function toNumber(value: string | null, shape: NumberShape): number | null {
  if (value == null) return null;
  const m = /^(-?[\d._]+(?:e[-+]?\d+)?)\s*([a-zµ%/]*)$/i.exec(bare(value));
  if (!m) return null;
  const number = Number(m[1].replaceAll("_", ""));
  const unit = m[2];
  if (shape.unit === "ms" || shape.unit === "s") return unit in SECONDS ? (number * SECONDS[unit]) / SECONDS[shape.unit] : number;
  if (shape.unit === "%") return unit === "%" ? number : number * 100;
  if (shape.unit === "/s" && (unit === "/min" || unit === "/m")) return number / 60;
  return number;
}

/** A number as TOML. */
export function fromNumber(number: number, shape: NumberShape): string {
  const text = String(Number(number.toPrecision(6)));
  if (shape.unit !== "") return `"${text}${shape.unit}"`;
  return Number.isInteger(shape.step) ? String(Math.round(number)) : text.includes(".") || text.includes("e") ? text : `${text}.0`;
}

/** Position of a slider, 0..1000. */
export function toPosition(number: number, shape: NumberShape): number {
  const [min, max] = range(shape);
  const share = shape.log ? Math.log(Math.max(number, min) / min) / Math.log(max / min) : (number - min) / (max - min);
  return Math.round(1000 * Math.min(1, Math.max(0, share)));
}

export function fromPosition(position: number, shape: NumberShape): number {
  const [min, max] = range(shape);
  const share = position / 1000;
  const raw = shape.log ? min * (max / min) ** share : min + (max - min) * share;
  const rounded = shape.log ? Number(raw.toPrecision(2)) : Math.round(raw / shape.step) * shape.step;
  return Math.min(shape.max, Math.max(shape.min, Number((Number.isInteger(shape.step) ? Math.round(rounded) : rounded).toPrecision(6))));
}

const range = (shape: NumberShape): [number, number] => [shape.log ? Math.max(shape.min, shape.max / 1e6, 1e-9) : shape.min, shape.max];

export const shown = (value: string | null): string => (value == null ? "not set" : bare(value));
