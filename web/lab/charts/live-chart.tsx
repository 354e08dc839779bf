// A chart whose values grow while it is shown: the report's chart, but its plot is kept and gets new data.
import { effect, useSignal, type Signal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { options, whole } from "../../shared/chart";
import type { ChartProps, Curve, Region, Values } from "../../shared/chart-types";
import { dark } from "../../shared/theme";
import { Tip, type TipState } from "../../shared/tip";
import "uplot/dist/uPlot.min.css";

export interface LiveData { x: number[]; curves: Curve[]; regions?: Region[] }

interface Props extends Omit<ChartProps, "x" | "curves" | "regions" | "range" | "marks"> {
  data: LiveData;
  /** Changes where the plot must be made again: other axes, other curves. */
  shape: string;
  range: Signal<[number, number] | null>;
}

/** Values that a logarithmic axis can have. */
const positive = (values: Values): Values => values.map((v) => (v != null && v > 0 ? v : null));

export function LiveChart({ data, shape, ...rest }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const active = useRef({ on: false });
  const tip = useSignal<TipState | null>(null);
  // The plot reads curves and regions from here each time it draws.
  const live = useRef<ChartProps>({ ...rest, x: data.x, curves: data.curves, regions: data.regions ?? [] });
  Object.assign(live.current, rest);

  const aligned = (): uPlot.AlignedData => [live.current.x, ...live.current.curves.map((curve) => (rest.yAxis.log ? positive(curve.values) : curve.values))] as uPlot.AlignedData;

  useLayoutEffect(() => {
    const node = host.current!;
    live.current = { ...rest, x: data.x, curves: data.curves.map((curve) => ({ ...curve })), regions: [...(data.regions ?? [])] };
    const width = () => Math.max(200, node.clientWidth);
    const u = new uPlot(options(live.current, width(), { tip, active: active.current }), aligned(), node);
    plot.current = u;
    u.root.querySelectorAll("canvas").forEach((canvas) => canvas.setAttribute("aria-hidden", "true"));
    const observer = new ResizeObserver(() => { if (width() !== u.width) u.setSize({ width: width(), height: u.height }); });
    observer.observe(node);
    const stops = [
      effect(() => { void rest.range.value; const [min, max] = whole(live.current); u.setScale("x", rest.range.value ? { min: rest.range.value[0], max: rest.range.value[1] } : { min, max }); }),
      effect(() => { void dark.value; u.redraw(false, true); }),
      effect(() => {
        const key = rest.highlight?.value ?? null;
        const index = key == null ? -1 : live.current.curves.findIndex((curve) => curve.key === key);
        u.setSeries(index < 0 ? null as unknown as number : index + 1, { focus: true });
      }),
    ];
    return () => {
      stops.forEach((stop) => stop());
      observer.disconnect();
      u.destroy();
      plot.current = null;
    };
  }, [shape]);

  useLayoutEffect(() => {
    const u = plot.current;
    if (!u || data.curves.length !== live.current.curves.length) return;
    live.current.x = data.x;
    data.curves.forEach((curve, i) => Object.assign(live.current.curves[i], curve));
    live.current.regions!.splice(0, Infinity, ...(data.regions ?? []));
    u.setData(aligned());
  }, [data]);

  const keyed = (event: KeyboardEvent) => {
    const u = plot.current;
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!u || !step || !data.x.length) return;
    const next = Math.min(data.x.length - 1, Math.max(0, (u.cursor.idx ?? (step > 0 ? -1 : data.x.length)) + step * (event.shiftKey ? 10 : 1)));
    const first = u.data.slice(1).map((values) => values[next]).find((value) => value != null);
    u.setCursor({ left: u.valToPos(data.x[next], "x"), top: first == null ? 10 : u.valToPos(first, "y") });
    event.preventDefault();
    event.stopPropagation();
  };
  const leave = () => { active.current.on = false; tip.value = null; };
  return (
    <div class="chart" role="group" aria-roledescription="chart" aria-label={`${rest.label} Arrow keys read values.`} tabIndex={0} onKeyDown={keyed}
      onFocus={() => { active.current.on = true; }} onBlur={leave} onPointerEnter={() => { active.current.on = true; }}
      onPointerLeave={(event) => { if (event.pointerType !== "touch") leave(); }} onDblClick={() => { rest.range.value = null; }}>
      <div ref={host} class="chart-host" style={{ minHeight: `${rest.height ?? 220}px` }} />
      <Tip state={tip} chart={live.current} />
    </div>
  );
}
