// Decisions as the engine describes them, one of each kind of drawing: for work on the inspector without the engine.
import type { Moves, Why } from "../../lab/engine";

let seed = 7;
const random = () => { seed = (seed * 16807) % 2147483647; return seed / 2147483647; };

function why(label: string, picked: number, sentence: string, placement: Why["placement"], score: ((inFlight: number) => number) | null, meaning: string | null, count = 10): Why {
  return {
    time: 12.417, job: 31, request: { id: 4012, client: "10.0.3.77", path: "/cart", key: "10.0.3.77" }, pool: 0, picked,
    sentence: sentence.replace("LABEL", label),
    servers: Array.from({ length: count }, (_, server) => {
      const in_flight = Math.floor(random() * 6);
      const queued = Math.max(0, in_flight + Math.floor(random() * 4) - 1);
      const busy = in_flight + queued > 0 ? 1 : 0;
      return { server, name: `web-${server + 1}`, eligible: server !== 8, excluded: false, in_flight, weight: 1, score: score && score(in_flight),
        truth: { queued, in_service: busy, work: busy * (0.004 + queued * 0.016 * random() * 2) } };
    }),
    score_meaning: meaning, placement,
  };
}

const points: [number, number][] = Array.from({ length: 1000 }, (_, i) => [random(), i % 10] as [number, number]).sort((a, b) => a[0] - b[0]);
const entries = (size: number, servers: number) => Array.from({ length: size }, () => Math.floor(random() * servers));
const table = entries(1021, 10);

export const whys: Record<string, Why> = {
  p2c: why("p2c", 6, "LABEL drew `web-4` and `web-7` at random and sent the request to `web-7`: it had 1 request in flight, `web-4` had 3.", { kind: "sample", servers: [3, 6] }, (n) => n, "requests in flight; the lower one of the two is picked"),
  ring_hash: why("ring_hash", points.find((p) => p[0] >= 0.3127)![1], "The key hashes to 0.3127 of the circle; the next point clockwise belongs to the picked server.", { kind: "ring", at: 0.3127, points }, null, null),
  maglev: why("maglev", table[402], "The key's hash chooses entry 402 of 1,021.", { kind: "table", size: 1021, at: 402, entries: table }, null, null),
  "maglev, large": why("maglev", 3, "The key's hash chooses entry 30,001 of 65,537.", { kind: "table", size: 65537, at: 2001, entries: Object.assign(entries(4096, 16), { 2001: 3 }) }, null, null, 16),
  round_robin: why("round_robin", 4, "`web-5` is next in the order; `web-4` had the request before.", { kind: "order", servers: [4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5], next: 0 }, null, null),
  random: why("random", 2, "LABEL picks any of the 9 eligible servers with the same probability; nothing else plays a part.", null, null, null),
  peak_ewma: why("peak_ewma", 1, "`web-2` had the lowest score, 0.0121: its peak latency estimate of 12.1 ms times 1 request in flight.", null, (n) => 0.004 + n * 0.013 * random(), "estimated latency times requests in flight; lowest wins"),
};

export const moves: Moves = {
  before: [448, 372, 404, 348, 440, 396, 416, 364, 432, 380],
  after: [496, 416, 0, 392, 484, 452, 464, 404, 468, 424], moved: 0.103, ideal: 0.101,
};
