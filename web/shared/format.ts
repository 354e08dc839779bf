// Numbers as text, in the same form as the terminal's table: three significant digits, a dash for what does not exist.

export type Unit = "s" | "1/s" | "share" | "index" | "number";

/** What stands for a value that does not exist. */
export const NONE = "–";

type Maybe = number | null | undefined;

const exists = (value: Maybe): value is number => value != null && Number.isFinite(value);

/** `16.2 ms`, `2.00 s`, `730 µs`. */
export function seconds(value: Maybe): string {
  if (!exists(value)) return NONE;
  const size = Math.abs(value);
  if (size === 0) return "0 s";
  const [scaled, unit] =
    size < 999.5e-9 ? [value * 1e9, "ns"] : size < 999.5e-6 ? [value * 1e6, "µs"] : size < 0.9995 ? [value * 1e3, "ms"] : [value, "s"];
  const shown = Math.abs(scaled);
  return `${scaled.toFixed(shown < 9.995 ? 2 : shown < 99.95 ? 1 : 0)} ${unit}`;
}

/** `7.69 %`; `0` for exactly none. */
export function percent(share: Maybe): string {
  if (!exists(share)) return NONE;
  if (share === 0) return "0";
  const size = Math.abs(share);
  if (size < 0.0001) return "<0.01 %";
  return `${(share * 100).toFixed(size < 0.1 ? 2 : 1)} %`;
}

/** Three significant digits without an exponent for ordinary sizes. */
export function significant(value: Maybe): string {
  if (!exists(value)) return NONE;
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 99.95) return value.toFixed(0);
  if (size >= 9.995) return value.toFixed(1);
  if (size >= 0.9995) return value.toFixed(2);
  return size >= 0.001 ? value.toFixed(4) : value.toExponential(2);
}

export function show(value: Maybe, unit: Unit): string {
  if (!exists(value)) return NONE;
  switch (unit) {
    case "s": return seconds(value);
    case "1/s": return `${significant(value)} /s`;
    case "share": return percent(value);
    case "index": return value.toFixed(3);
    case "number": return significant(value);
  }
}

/** Short label of an axis: no trailing zeros. */
export function tick(value: number, unit: Unit): string {
  const short = (x: number) => String(Number(x.toPrecision(6)));
  if (unit === "s") {
    const size = Math.abs(value);
    if (size === 0) return "0";
    if (size < 999.5e-9) return `${short(value * 1e9)} ns`;
    if (size < 999.5e-6) return `${short(value * 1e6)} µs`;
    return size < 0.9995 ? `${short(value * 1e3)} ms` : `${short(value)} s`;
  }
  if (unit === "share") return `${short(value * 100)} %`;
  return Math.abs(value) >= 1e4 ? value.toLocaleString("en") : short(value);
}

/** Half the 95 % interval as a share of the value: `±2.2 %`; empty without an interval. */
export function spread(value: Maybe, low: Maybe, high: Maybe): string {
  if (!exists(value) || !exists(low) || !exists(high) || value === 0) return "";
  const share = ((high - low) / 2 / Math.abs(value)) * 100;
  if (!Number.isFinite(share)) return "";
  return share < 0.1 ? "±<0.1 %" : `±${share.toFixed(share < 9.95 ? 1 : 0)} %`;
}

/** `95 % interval 62.1 ms to 66.3 ms`; empty without an interval. */
export function interval(low: Maybe, high: Maybe, unit: Unit): string {
  return exists(low) && exists(high) ? `95 % interval ${show(low, unit)} to ${show(high, unit)}` : "";
}

/** A value beside that of a baseline: `1.42x`, `+7.69 pp`, `+0.012`. */
export function relative(value: Maybe, base: Maybe, unit: Unit): string {
  if (!exists(value) || !exists(base)) return NONE;
  if (unit === "share") {
    const points = (value - base) * 100;
    return Math.abs(points) < 0.005 ? "0 pp" : `${points > 0 ? "+" : "−"}${Math.abs(points).toFixed(2)} pp`;
  }
  if (unit === "index") {
    const difference = value - base;
    return Math.abs(difference) < 0.0005 ? "0" : `${difference > 0 ? "+" : "−"}${Math.abs(difference).toFixed(3)}`;
  }
  if (base === 0) return value === 0 ? "1.00x" : NONE;
  const ratio = value / base;
  return `${ratio.toFixed(ratio < 9.995 ? 2 : ratio < 99.95 ? 1 : 0)}x`;
}

/** Seconds since the start of a run: `20.3 s`. */
export const at = (time: number): string => `${time.toFixed(time < 1 ? 3 : time < 100 ? 2 : 1)} s`;

/** `2, 3 and 4`. */
export function list(words: string[]): string {
  if (words.length < 2) return words.join("");
  return `${words.slice(0, -1).join(", ")} and ${words[words.length - 1]}`;
}
