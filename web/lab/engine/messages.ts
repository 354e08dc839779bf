// What the page and a worker say to each other.
import type { Trace } from "./abi";
import type { LiveMetrics, OpenRequest, Refusal, TimedAct } from "../engine";

export type Order =
  | { op: "start"; module: WebAssembly.Module }
  | { op: "open"; request: OpenRequest; trace: Trace }
  | { op: "close" }
  | { op: "advance"; until: number; want: Want }
  /** Single events, until one of them is visible; nothing past `until`. */
  | { op: "event"; want: Want }
  | { op: "act"; act: TimedAct["act"] }
  | { op: "trace"; level: Trace }
  | { op: "why"; job: number }
  | { op: "moves"; server: number }
  | { op: "record" }
  | { op: "call"; request: { op: string } & Record<string, unknown> };

/** What an advance brings back besides the frame. */
export interface Want { events: boolean; metrics: boolean }

export interface Advance {
  over: boolean;
  /** See FRAME in engine.ts. */
  frame: Float64Array<ArrayBuffer>;
  events: Float64Array<ArrayBuffer> | null;
  metrics: LiveMetrics | null;
  /** Milliseconds that the worker has spent. */
  cost: number;
}

export interface Request { id: number; order: Order }
export type Reply = { id: number; value: unknown } | { id: number; refusal: Refusal } | { id: number; error: string };
