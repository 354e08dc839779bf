// Numbers of servers, smoothed over a moment of the reader's time, for pictures of sums.
import type { Frame } from "../frame";

/** Seconds in which a bar covers 63 % of its way. */
const EASE = 0.12;

export class Smooth {
  readonly queue: Float64Array;
  readonly serving: Float64Array;
  private readonly rate: Float64Array;
  private readonly picked: Float64Array;
  private most = 0;

  constructor(servers: number) {
    [this.queue, this.serving, this.rate, this.picked] = [0, 0, 0, 0].map(() => new Float64Array(servers)) as [Float64Array, Float64Array, Float64Array, Float64Array];
  }

  /** Takes over a frame; `jump`: without a way there. */
  follow(frame: Frame, seconds: number, jump: boolean): void {
    const share = jump ? 1 : 1 - Math.exp(-seconds / EASE);
    this.most = 0;
    for (let i = 0; i < this.queue.length; i++) {
      this.queue[i] += (frame.server(i, "queued") - this.queue[i]) * share;
      this.serving[i] += (frame.server(i, "in_service") - this.serving[i]) * share;
      const picked = frame.server(i, "picked");
      const now = jump || seconds <= 0 ? 0 : Math.max(0, picked - this.picked[i]) / seconds;
      this.rate[i] += (now - this.rate[i]) * (1 - Math.exp(-seconds / 0.4));
      this.picked[i] = picked;
      if (this.rate[i] > this.most) this.most = this.rate[i];
    }
  }

  /** Rate of picks of a server, as a share of the highest. */
  share(server: number): number {
    return this.most > 0 ? this.rate[server] / this.most : 0;
  }
}
