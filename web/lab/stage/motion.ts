// Moves requests towards their places, a little with each picture.
import type { Dot, Jobs } from "./jobs";
import { balancerAt, type Layout, type Place, type Point } from "./layout";

/** Seconds in which a request covers 63 % of its way. */
const EASE = 0.075;
/** Seconds in which a request that has left fades; a failure is seen for longer. */
const FADE = 0.32;
const FAILURE = 0.9;
export const fade = (dot: Dot): number => (dot.kind === "failed" ? FAILURE : FADE);
/** Seconds in which the light on a way fades. */
const FLASH = 0.35;

/** Where the n-th in a queue is; none if the queue is longer than its room. */
export function queuePoint(layout: Layout, place: Place, n: number): Point {
  const x = place.slotX - 8 - (n + 0.5) * layout.step;
  return { x: Math.max(x, layout.queueX + layout.radius), y: place.y + place.height / 2 };
}

/** How many of a queue have room. */
export const queueRoom = (layout: Layout, place: Place): number => Math.max(0, Math.floor((place.slotX - 8 - layout.queueX) / layout.step));

export function slotPoint(layout: Layout, place: Place, n: number, of: number): Point {
  const width = place.shownSlots * (layout.step + 2);
  const count = Math.max(place.shownSlots, of);
  return { x: place.slotX + ((n + 0.5) / count) * width, y: place.y + place.height / 2 };
}

function goal(layout: Layout, places: Place[], dot: Dot, n: number, of: number): Point {
  const balancer = balancerAt(layout, dot.balancer);
  const place = places[dot.server];
  if (layout.form === "cells" && place && dot.stage !== "arriving") return { x: place.slotX, y: place.y + place.height / 2 };
  switch (dot.stage) {
    case "queue": return place ? queuePoint(layout, place, n) : balancer;
    case "service": return place ? slotPoint(layout, place, n, of) : balancer;
    case "flying": return place ? queuePoint(layout, place, of) : balancer;
    case "balancer": return { x: balancer.x - 13 - (n % 6) * layout.step, y: balancer.y + 14 + Math.floor(n / 6) * layout.step };
    case "arriving": return balancer;
    // A failure is shown where it happens.
    case "away": return dot.kind !== "failed" ? layout.clients : place ? { x: place.slotX + layout.radius + 2, y: place.y + place.height / 2 } : { x: dot.x, y: dot.y + 6 };
  }
}

function towards(dot: Dot, to: Point, share: number): void {
  dot.x += (to.x - dot.x) * share;
  dot.y += (to.y - dot.y) * share;
}

/** Moves everything by `seconds` of the reader's time. `calm`: no motion, requests are where they belong. */
export function move(jobs: Jobs, layout: Layout, places: Place[], seconds: number, hidden: (server: number) => number, calm: boolean): void {
  const share = calm ? 1 : 1 - Math.exp(-seconds / EASE);
  const put = (dot: Dot, n: number, of: number) => {
    if (!dot.placed) {
      const source = jobs.alive.get(dot.from);
      const start = source?.placed ? source : layout.clients;
      [dot.x, dot.y, dot.placed] = [start.x, start.y, true];
    }
    towards(dot, goal(layout, places, dot, n, of), share);
  };
  jobs.queues.forEach((queue, server) => { const before = hidden(server); queue.forEach((dot, n) => put(dot, before + n, queue.length)); });
  jobs.serving.forEach((serving) => serving.forEach((dot, n) => put(dot, n, serving.length)));
  jobs.waiting.forEach((dot, n) => put(dot, n, 0));
  for (const dot of jobs.alive.values()) {
    if (dot.stage === "arriving") put(dot, 0, 0);
    else if (dot.stage === "flying") put(dot, 0, (jobs.queues[dot.server]?.length ?? 0) + hidden(dot.server));
  }
  for (const dot of jobs.fading) {
    dot.gone += seconds;
    towards(dot, goal(layout, places, dot, 0, 0), dot.kind === "failed" ? share : calm ? 0 : share * 0.5);
  }
  jobs.fading = jobs.fading.filter((dot) => dot.gone < (calm && dot.kind !== "failed" ? 0 : fade(dot)));
  const decay = Math.exp(-seconds / FLASH);
  for (let i = 0; i < jobs.flash.length; i++) jobs.flash[i] *= decay;
}
