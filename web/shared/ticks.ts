// Where an axis has its ticks.

/** 1, 2, 5 per decade; every multiple if the range is short, decades only if it is long. At most about `most`. */
export function logTicks(min: number, max: number, most: number): number[] {
  const decades = Math.log10(max / min);
  const candidates = [[1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 5], [1, 2, 5], [1, 3], [1]];
  const make = (steps: number[], every: number) => {
    const ticks: number[] = [];
    for (let power = Math.floor(Math.log10(min)); power <= Math.ceil(Math.log10(max)); power++) {
      if (((power % every) + every) % every !== 0) continue;
      for (const step of steps) {
        const tick = Number((step * 10 ** power).toPrecision(6));
        if (tick >= min * (1 - 1e-9) && tick <= max * (1 + 1e-9)) ticks.push(tick);
      }
    }
    return ticks;
  };
  for (const steps of candidates) {
    const ticks = make(steps, 1);
    if (ticks.length <= most && ticks.length >= 2) return ticks;
  }
  if (decades < 1.2) return linearTicks(min, max, most);
  for (let every = 2; every < 10; every++) {
    const ticks = make([1], every);
    if (ticks.length <= most) return ticks;
  }
  return [min, max];
}

/** Steps of 1, 2, 2.5 or 5 times a power of ten; at most about `most`. */
export function linearTicks(min: number, max: number, most: number): number[] {
  if (!(max > min)) return [min];
  const rough = (max - min) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 2.5, 5, 10].find((s) => s * power >= rough) ?? 10) * power;
  const ticks: number[] = [];
  for (let n = Math.ceil(min / step - 1e-9); n * step <= max + step * 1e-9; n++) ticks.push(Number((n * step).toPrecision(12)));
  return ticks;
}

/** A range around the values with some air; at least a factor of three on a log scale. */
export function logRange(min: number, max: number): [number, number] {
  if (!(min > 0) || !Number.isFinite(max)) return [0.001, 1];
  let [low, high] = [min / 1.12, max * 1.12];
  if (high / low < 3) {
    const middle = Math.sqrt(low * high);
    [low, high] = [middle / Math.sqrt(3), middle * Math.sqrt(3)];
  }
  return [low, high];
}
