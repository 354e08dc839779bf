// Where things are in a lane's picture. Units are CSS pixels.
import type { Description } from "../engine";

export interface Point { x: number; y: number }

/** Where a server is drawn: a row with its queue to the left of its slots, or a small cell with bars. */
export interface Place {
  server: number;
  pool: number;
  name: string;
  slots: number;
  cache: number | null;
  x: number;
  y: number;
  width: number;
  height: number;
  /** Where the first slot is; the queue grows to the left of it. */
  slotX: number;
  /** Slots that are drawn one by one; more are drawn as a bar. */
  shownSlots: number;
  nameX: number;
}

export interface Title { text: string; y: number }

export interface Layout {
  width: number;
  height: number;
  clients: Point;
  balancers: Point[];
  places: Place[];
  titles: Title[];
  form: "rows" | "tight" | "cells";
  /** Distance between two requests in a queue. */
  step: number;
  /** Radius of a request. */
  radius: number;
  /** Left end of queues. */
  queueX: number;
  numberX: number;
}

/** More servers than this are drawn as cells. */
const MOST_ROWS = 40;
const MOST_COMFORTABLE = 20;
const MOST_SLOTS = 6;
const TITLE = 26;
const HEAD = 24;

const measure = document.createElement("canvas").getContext("2d")!;

function longest(names: string[], font: string): number {
  measure.font = font;
  return Math.max(0, ...names.map((name) => measure.measureText(name).width));
}

function rows(of: Description, width: number, font: string, big: boolean): Layout {
  const servers = of.pools.flatMap((pool) => pool.servers);
  const tight = servers.length > MOST_COMFORTABLE;
  const height = (tight ? 15 : servers.length > 12 ? 25 : 28) * (big ? 1.25 : 1);
  const radius = (tight ? 3 : 4.5) * (big ? 1.3 : 1);
  const step = 2 * radius + 2;
  const balancerX = Math.max(66, Math.min(150, width * 0.17));
  // With room for the sign of a condition, and for its word where the lane is wide.
  const names = Math.min(width * 0.26, longest(servers.map((one) => one.name), font)) + (tight ? 30 : 34) + (width >= 400 && !tight ? 50 : 0);
  const numberX = width - 6;
  const nameX = numberX - 12 - names;
  const places: Place[] = [];
  const titles: Title[] = [];
  let y = HEAD;
  of.pools.forEach((pool, index) => {
    if (of.pools.length > 1) {
      titles.push({ text: `${pool.name}${pool.tier === 2 ? ", called by the servers above" : pool.paths.length && pool.paths.length < of.paths.length ? ` ${pool.paths.join(", ")}` : ""}`, y: y + TITLE - 8 });
      y += TITLE;
    }
    pool.servers.forEach((server, n) => {
      const shownSlots = Math.min(server.slots, MOST_SLOTS);
      places.push({
        server: pool.first + n, pool: index, name: server.name, slots: server.slots, cache: server.cache, x: balancerX + 24, y, width: width - balancerX - 24, height,
        slotX: nameX - 14 - shownSlots * (step + 2), shownSlots, nameX,
      });
      y += height;
    });
    y += of.pools.length > 1 ? 8 : 0;
  });
  const bottom = y + 6;
  return {
    width, height: bottom, places, titles, form: tight ? "tight" : "rows", step, radius, queueX: balancerX + 34, numberX,
    clients: { x: 20, y: (HEAD + bottom) / 2 },
    balancers: spread(views(of), balancerX - 14, HEAD, bottom),
  };
}

/** Balancers, or the parts of one that know nothing of each other. */
const views = (of: Description): number => (of.balancers > 1 ? of.balancers : of.shards);

/** At most this many balancers are drawn. */
const MOST_BALANCERS = 8;

function spread(count: number, x: number, top: number, bottom: number): Point[] {
  const drawn = Math.max(1, Math.min(count, MOST_BALANCERS));
  const gap = Math.min(44, (bottom - top) / (drawn + 1));
  const middle = (top + bottom) / 2;
  return Array.from({ length: drawn }, (_, i) => ({ x, y: middle + (i - (drawn - 1) / 2) * gap }));
}

function cells(of: Description, width: number): Layout {
  const balancerX = Math.max(60, Math.min(120, width * 0.14));
  const left = balancerX + 30;
  const columns = Math.max(4, Math.floor((width - left - 4) / 30));
  const [cell, height] = [(width - left - 4) / columns, 46];
  const places: Place[] = [];
  const titles: Title[] = [];
  let y = HEAD;
  of.pools.forEach((pool, index) => {
    if (of.pools.length > 1) {
      titles.push({ text: pool.name, y: y + TITLE - 8 });
      y += TITLE;
    }
    pool.servers.forEach((server, n) => {
      const [column, row] = [n % columns, Math.floor(n / columns)];
      const x = left + column * cell;
      places.push({ server: pool.first + n, pool: index, name: server.name, slots: server.slots, cache: server.cache, x, y: y + row * height, width: cell - 4, height: height - 6, slotX: x + cell / 2, shownSlots: 0, nameX: x });
    });
    y += Math.ceil(pool.servers.length / columns) * height + 6;
  });
  return {
    width, height: y + 4, places, titles, form: "cells", step: 5, radius: 2.5, queueX: left, numberX: width,
    clients: { x: 18, y: (HEAD + y) / 2 }, balancers: spread(views(of), balancerX - 14, HEAD, y),
  };
}

export function layOut(of: Description, width: number, font: string, big: boolean): Layout {
  const servers = of.pools.reduce((sum, pool) => sum + pool.servers.length, 0);
  return servers > MOST_ROWS ? cells(of, width) : rows(of, width, font, big);
}

export const balancerAt = (layout: Layout, index: number): Point => layout.balancers[Math.max(0, index) % layout.balancers.length];

/** The server at a point of the picture. */
export function hit(layout: Layout, x: number, y: number): number | null {
  const found = layout.places.find((place) => x >= place.x - 4 && x < place.x + place.width + 4 && y >= place.y && y < place.y + place.height + (layout.form === "cells" ? 6 : 0));
  return found ? found.server : null;
}
