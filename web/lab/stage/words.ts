// The state of a server in words, and events in words.
import { percent } from "../../shared/format";
import { type Description, EVENT, EVENT_VALUES } from "../engine";
import type { Frame } from "../frame";

export function serverOf(of: Description, index: number) {
  const pool = of.pools.find((one) => index >= one.first && index < one.first + one.servers.length);
  return pool ? pool.servers[index - pool.first] : null;
}

export const serverName = (of: Description, index: number): string => serverOf(of, index)?.name ?? `server ${index}`;

const count = (n: number, one: string, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

/** "web-3: 2 wait, 1 of 1 in service, 3 in flight; 1,204 picks, 95.1 % busy." */
export function serverText(of: Description, frame: Frame, index: number): string {
  const server = serverOf(of, index);
  if (!server) return "";
  const value = (name: Parameters<Frame["server"]>[1]) => frame.server(index, name);
  const condition = frame.condition(index);
  const parts = [
    `${value("queued")} in queue`, `${value("in_service")} of ${server.slots} in service`, `${value("in_flight")} in flight`, count(value("picked"), "pick"),
    `${percent(frame.time > 0 ? value("busy") / frame.time / server.slots : 0)} busy`,
  ];
  if (value("failed") > 0) parts.push(`${value("failed").toLocaleString("en")} failed`);
  if (server.cache != null && value("hits") + value("misses") > 0) parts.push(`${percent(value("hits") / (value("hits") + value("misses")))} cache hits`);
  return `${server.name}${condition ? ` (${condition.word})` : ""}: ${parts.join(", ")}.`;
}

/** The last event that a reader can see, as a sentence. */
export function eventText(of: Description, events: Float64Array): string {
  for (let i = events.length - EVENT_VALUES; i >= 0; i -= EVENT_VALUES) {
    const [kind, , job, server, detail] = events.subarray(i, i + EVENT_VALUES);
    const who = server >= 0 ? serverName(of, server) : "";
    switch (kind) {
      case EVENT.arrived: return `Request ${job} arrives.`;
      case EVENT.picked: return server < 0 ? `Request ${job}: no server may be picked.` : `Request ${job} is sent to ${who}.`;
      case EVENT.entered: return `Request ${job} enters ${who}.`;
      case EVENT.started: return `${who} starts request ${job}${detail === 1 ? ", a cache hit" : detail === 0 ? ", a cache miss" : ""}.`;
      case EVENT.left: return `Request ${job} leaves ${who}.`;
      case EVENT.failed: return `Request ${job} fails at ${who}.`;
      case EVENT.ended: return detail === 0 ? `Request ${job} is answered.` : `Request ${job} fails.`;
      case EVENT.queued: return `Request ${job} waits at the balancer.`;
      case EVENT.fault_started: return who ? `A fault hits ${who}.` : "A fault begins.";
      case EVENT.fault_ended: return who ? `${who}: the fault is over.` : "A fault is over.";
      case EVENT.ejected: return `${who} is ejected.`;
      case EVENT.readmitted: return `${who} is readmitted.`;
      case EVENT.health: return `A health check finds ${who} ${detail ? "healthy" : "unhealthy"}.`;
      default:
    }
  }
  return "";
}
