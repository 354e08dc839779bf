// A frame of the engine, read by name instead of by position.
import { FRAME_HEADER, FRAME_SERVER } from "./engine";

const WIDTH = FRAME_SERVER.length;
const HEAD = FRAME_HEADER.length;
const header = Object.fromEntries(FRAME_HEADER.map((name, i) => [name, i])) as Record<(typeof FRAME_HEADER)[number], number>;
const field = Object.fromEntries(FRAME_SERVER.map((name, i) => [name, i])) as Record<ServerField, number>;

export type ServerField = (typeof FRAME_SERVER)[number];

/** Bits of `condition`, the gravest first, with what the page says and draws. */
export const CONDITIONS = [
  { bit: 1, word: "crashed", icon: "✕" },
  { bit: 32, word: "not in the pool", icon: "○" },
  { bit: 2, word: "stalled", icon: "‖" },
  { bit: 8, word: "errors", icon: "!" },
  { bit: 16, word: "draining", icon: "⇥" },
  { bit: 4, word: "slow", icon: "▼" },
] as const;

export class Frame {
  constructor(readonly values: Float64Array) {}
  private head(name: keyof typeof header): number { return this.values[header[name]]; }
  /** Seconds since the start of the run. */
  get time(): number { return this.head("time"); }
  get over(): boolean { return this.head("over") !== 0; }
  get events(): number { return this.head("events"); }
  get arrived(): number { return this.head("arrived"); }
  get inSystem(): number { return this.head("in_system"); }
  get ok(): number { return this.head("ended_ok"); }
  get failed(): number { return this.head("ended_failed"); }
  /** Factor on the arrival rate that acts have set. */
  get load(): number { return this.head("load_factor"); }
  get balancerQueue(): number { return this.head("balancer_queue"); }
  get servers(): number { return this.head("servers"); }
  server(index: number, name: ServerField): number { return this.values[HEAD + index * WIDTH + field[name]]; }
  /** What a server's condition is called; an ejected server is one that no balancer may pick. Empty if all is well. */
  condition(index: number): { word: string; icon: string } | null {
    const bits = this.server(index, "condition");
    const found = CONDITIONS.find((one) => bits & one.bit);
    if (found) return found;
    return this.server(index, "eligible") === 0 ? { word: "ejected", icon: "⊘" } : null;
  }
}
