// Single requests of a lane, followed from event to event. Each has a place to go to; pictures move it there.
import { EVENT, EVENT_VALUES, ORIGIN } from "../engine";

export type Kind = "plain" | "hit" | "miss" | "retry" | "hedge" | "call" | "failed" | "late";
type Stage = "arriving" | "balancer" | "flying" | "queue" | "service" | "away";

export interface Dot {
  job: number;
  kind: Kind;
  /** Its client has stopped waiting. */
  abandoned: boolean;
  stage: Stage;
  balancer: number;
  server: number;
  x: number;
  y: number;
  /** Not yet drawn: starts where its client, or what caused it, is. */
  placed: boolean;
  from: number;
  /** Seconds since it left, while it fades. */
  gone: number;
}

/** More requests than this are not drawn one by one. */
const MOST = 1500;

export class Jobs {
  readonly alive = new Map<number, Dot>();
  fading: Dot[] = [];
  readonly queues: Dot[][];
  readonly serving: Dot[][];
  readonly waiting: Dot[] = [];
  /** Strength of the light on the way to each server, 1 right after a pick. */
  readonly flash: Float64Array;
  /** Kinds that have been seen, for the legend. */
  readonly kinds = new Set<Kind>();

  constructor(readonly servers: number) {
    this.queues = Array.from({ length: servers }, () => []);
    this.serving = Array.from({ length: servers }, () => []);
    this.flash = new Float64Array(servers);
  }

  clear(): void {
    this.alive.clear();
    this.fading = [];
    this.waiting.length = 0;
    for (const list of [...this.queues, ...this.serving]) list.length = 0;
    this.flash.fill(0);
  }

  private unlist(dot: Dot): void {
    for (const list of [this.waiting, this.queues[dot.server], this.serving[dot.server]]) {
      const at = list ? list.indexOf(dot) : -1;
      if (at >= 0) list.splice(at, 1);
    }
  }

  private arrived(job: number, balancer: number, detail: number, other: number): void {
    if (this.alive.size >= MOST) this.clear();
    const origin = Math.floor(detail / 65536);
    const kind: Kind = origin === ORIGIN.retry ? "retry" : origin === ORIGIN.hedge ? "hedge" : origin === ORIGIN.call ? "call" : "plain";
    this.kinds.add(kind);
    this.alive.set(job, { job, kind, abandoned: false, stage: "arriving", balancer, server: -1, x: 0, y: 0, placed: false, from: other, gone: 0 });
  }

  private leave(dot: Dot, failed: boolean): void {
    this.unlist(dot);
    if (dot.stage === "away") return;
    dot.stage = "away";
    if (failed) {
      dot.kind = "failed";
      this.kinds.add("failed");
    }
    this.alive.delete(dot.job);
    if (dot.placed && this.fading.length < MOST) this.fading.push(dot);
  }

  /** Requests whose attempts are drawn in their place. */
  private standIn(job: number): boolean {
    for (const dot of this.alive.values()) if (dot.from === job && dot.kind !== "call") return true;
    return false;
  }

  read(events: Float64Array): void {
    for (let i = 0; i + EVENT_VALUES <= events.length; i += EVENT_VALUES) {
      this.event(events[i], events[i + 2], events[i + 3], events[i + 4], events[i + 5]);
    }
  }

  private event(kind: number, job: number, server: number, detail: number, other: number): void {
    if (kind === EVENT.arrived) {
      this.arrived(job, server, detail, other);
      return;
    }
    const dot = this.alive.get(job);
    switch (kind) {
      case EVENT.dropped: this.clear(); return;
      case EVENT.picked:
        if (server < 0) return;
        this.flash[server] = 1;
        if (dot) {
          this.unlist(dot);
          dot.stage = "flying";
          dot.server = server;
        }
        return;
      case EVENT.queued:
        if (dot) {
          dot.stage = "balancer";
          this.waiting.push(dot);
        }
        return;
      case EVENT.entered:
        if (dot) {
          this.unlist(dot);
          dot.server = server;
          dot.stage = "queue";
          this.queues[server]?.push(dot);
        }
        return;
      case EVENT.started:
        if (dot) {
          this.unlist(dot);
          dot.server = server;
          dot.stage = "service";
          if (detail >= 0 && dot.kind === "plain") dot.kind = detail === 1 ? "hit" : "miss";
          this.kinds.add(dot.kind);
          this.serving[server]?.push(dot);
        }
        return;
      case EVENT.left: if (dot) this.leave(dot, false); return;
      case EVENT.failed: if (dot) this.leave(dot, true); return;
      case EVENT.abandoned:
        if (dot) {
          dot.abandoned = true;
          this.kinds.add("late");
        }
        return;
      case EVENT.ended:
        // The balancer's record of a request whose attempts are drawn has no picture of its own.
        if (dot && (dot.stage === "arriving" || dot.stage === "balancer")) this.leave(dot, detail !== 0 && !this.standIn(job));
        return;
      case EVENT.released:
        if (dot) this.leave(dot, false);
        return;
    }
  }
}
