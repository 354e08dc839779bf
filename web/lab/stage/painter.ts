// Keeps a lane's canvas up to date. It draws only while something moves, and less often where drawing takes long.
import { effect } from "@preact/signals";
import { token } from "../../shared/chart-draw";
import { dark } from "../../shared/theme";
import type { Description } from "../engine";
import { singles } from "../playback/lanes";
import { type Lane, playing, settings } from "../state";
import { draw } from "./draw";
import { Jobs } from "./jobs";
import { hit, type Layout, layOut, type Place } from "./layout";
import { type Colours, colours } from "./marks";
import { move } from "./motion";
import { Smooth } from "./smooth";

/** Milliseconds that a picture still moves after the last change. */
const SETTLE = 900;

const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

export class Painter {
  readonly jobs: Jobs;
  private readonly smooth: Smooth;
  private layout: Layout;
  private places: Place[] = [];
  private readonly ctx: CanvasRenderingContext2D;
  private colours!: Colours;
  private until = 0;
  private jump = true;
  private wasSingles = true;
  private before = 0;
  private readonly stops: (() => void)[] = [];
  pointed: number | null = null;
  chosen: number | null = null;

  constructor(private readonly canvas: HTMLCanvasElement, private readonly lane: Lane, private readonly description: Description, private width: number) {
    this.ctx = canvas.getContext("2d")!;
    const servers = description.pools.reduce((sum, pool) => sum + pool.servers.length, 0);
    this.jobs = new Jobs(servers);
    this.smooth = new Smooth(servers);
    this.layout = this.lay();
    const read = (events: Float64Array) => { this.jobs.read(events); };
    const reset = () => { this.jobs.clear(); this.jump = true; this.wake(); };
    lane.listeners.add(read);
    lane.resets.add(reset);
    this.stops.push(
      () => lane.listeners.delete(read), () => lane.resets.delete(reset),
      effect(() => { this.colours = colours(dark.value); this.wake(); }),
      effect(() => { void lane.frame.value; this.wake(); }),
      effect(() => { void settings.big.value; this.resize(this.width); }),
    );
  }

  private lay(): Layout {
    const layout = layOut(this.description, this.width, `12.5px ${token("--font")}`, settings.big.peek());
    this.places = [];
    for (const place of layout.places) this.places[place.server] = place;
    const ratio = Math.min(3, window.devicePixelRatio || 1);
    this.canvas.width = Math.round(layout.width * ratio);
    this.canvas.height = Math.round(layout.height * ratio);
    this.canvas.style.height = `${layout.height}px`;
    return layout;
  }

  resize(width: number): void {
    this.width = width;
    this.layout = this.lay();
    this.jump = true;
    this.wake();
  }

  wake(): void {
    this.until = performance.now() + SETTLE;
  }

  at(x: number, y: number): number | null {
    return hit(this.layout, x, y);
  }

  /** Draws what has changed since the last picture; whether there was anything to draw. */
  paint(now: number): boolean {
    const frame = this.lane.frame.peek();
    if (!frame || frame.servers !== this.jobs.servers || now > this.until) {
      this.before = now;
      return false;
    }
    const seconds = Math.min(0.1, Math.max(0, (now - this.before) / 1000));
    this.before = now;
    const one = singles();
    if (one !== this.wasSingles) {
      if (!one) this.jobs.clear();
      this.wasSingles = one;
    }
    this.smooth.follow(frame, seconds, this.jump || (!playing.peek() && !one) || calm.matches);
    const hidden = (server: number) => Math.max(0, frame.server(server, "queued") - this.jobs.queues[server].length);
    if (one) move(this.jobs, this.layout, this.places, seconds, hidden, this.jump || calm.matches);
    this.jump = false;
    const ratio = this.canvas.width / this.layout.width;
    draw({
      ctx: this.ctx, layout: this.layout, places: this.places, frame, jobs: this.jobs, smooth: this.smooth, colours: this.colours, singles: one,
      chosen: this.chosen, pointed: this.pointed,
    }, ratio);
    return true;
  }

  dispose(): void {
    for (const stop of this.stops) stop();
  }
}
