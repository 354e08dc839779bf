// Draws a lane: clients, balancers, servers with queues and slots, and single requests.
import type { Frame } from "../frame";
import type { Dot, Jobs, Kind } from "./jobs";
import type { Layout, Place } from "./layout";
import { type Colours, shape } from "./marks";
import { fade, queuePoint, queueRoom, slotPoint } from "./motion";
import type { Smooth } from "./smooth";

export interface Scene {
  ctx: CanvasRenderingContext2D;
  layout: Layout;
  /** Places by server. */
  places: Place[];
  frame: Frame;
  jobs: Jobs;
  smooth: Smooth;
  colours: Colours;
  /** Requests one by one, or sums. */
  singles: boolean;
  chosen: number | null;
  pointed: number | null;
}

function rounded(ctx: CanvasRenderingContext2D, x: number, y: number, width: number, height: number, r: number): void {
  ctx.beginPath();
  ctx.roundRect(x, y, width, height, Math.min(r, width / 2, height / 2));
}

function fit(ctx: CanvasRenderingContext2D, text: string, width: number): string {
  if (ctx.measureText(text).width <= width) return text;
  let short = text;
  while (short.length > 1 && ctx.measureText(`${short}…`).width > width) short = short.slice(0, -1);
  return `${short}…`;
}

const down = (frame: Frame, server: number) => (frame.server(server, "condition") & (1 | 32)) !== 0;

function ways({ ctx, layout, frame, jobs, smooth, colours, singles }: Scene): void {
  const from = layout.balancers;
  ctx.lineCap = "round";
  for (const place of layout.places) {
    const off = frame.server(place.server, "eligible") === 0 || down(frame, place.server);
    const light = singles ? jobs.flash[place.server] : smooth.share(place.server);
    const to = { x: layout.form === "cells" ? place.x : layout.queueX - 6, y: place.y + place.height / 2 };
    if (layout.form === "cells" && (light < 0.05 || from.length > 2)) continue;
    for (const start of from) {
      const bend = (to.x - start.x) * 0.55;
      ctx.beginPath();
      ctx.moveTo(start.x + 12, start.y);
      ctx.bezierCurveTo(start.x + bend, start.y, to.x - bend, to.y, to.x, to.y);
      ctx.setLineDash(off ? [2, 4] : []);
      ctx.strokeStyle = colours.line;
      ctx.lineWidth = 1;
      ctx.stroke();
      if (light > 0.03 && !off) {
        ctx.strokeStyle = colours.accent;
        ctx.globalAlpha = Math.min(1, light) * (singles ? 0.75 : 0.55) / Math.sqrt(from.length);
        ctx.lineWidth = singles ? 1.5 : 1 + 3 * Math.min(1, light);
        ctx.stroke();
        ctx.globalAlpha = 1;
      }
    }
  }
  ctx.setLineDash([]);
}

function ends({ ctx, layout, frame, colours }: Scene): void {
  const { clients, balancers } = layout;
  ctx.strokeStyle = colours.line;
  ctx.lineWidth = 1;
  for (const { x, y } of balancers) {
    ctx.beginPath();
    ctx.moveTo(clients.x + 12, clients.y);
    ctx.bezierCurveTo((clients.x + x) / 2, clients.y, (clients.x + x) / 2, y, x - 12, y);
    ctx.stroke();
  }
  // Clients: three heads in a row.
  ctx.fillStyle = colours.ground;
  ctx.strokeStyle = colours.soft;
  ctx.lineWidth = 1.5;
  for (const shift of [-9, 0, 9]) {
    ctx.beginPath();
    ctx.arc(clients.x, clients.y + shift, 5.5, 0, 2 * Math.PI);
    ctx.fill();
    ctx.stroke();
  }
  for (const { x, y } of balancers) {
    const r = balancers.length > 4 ? 7 : 11;
    ctx.beginPath();
    ctx.moveTo(x, y - r); ctx.lineTo(x + r, y); ctx.lineTo(x, y + r); ctx.lineTo(x - r, y); ctx.closePath();
    ctx.fillStyle = colours.ground;
    ctx.fill();
    ctx.strokeStyle = colours.ink;
    ctx.lineWidth = 1.5;
    ctx.stroke();
  }
  ctx.fillStyle = colours.soft;
  ctx.font = `11.5px ${colours.font}`;
  ctx.textBaseline = "alphabetic";
  ctx.textAlign = "left";
  ctx.fillText("clients", 0, 12);
  const queue = frame.balancerQueue;
  const first = balancers[0];
  ctx.textAlign = "center";
  ctx.fillText(layout.balancers.length > 1 ? "balancers" : "balancer", Math.max(first.x, 76), 12);
  if (queue > 0) {
    ctx.font = `600 11.5px ${colours.font}`;
    ctx.fillText(`${queue} wait`, first.x - 6, balancers[balancers.length - 1].y + 26);
  }
}

function heads({ ctx, layout, colours }: Scene): void {
  ctx.fillStyle = colours.soft;
  ctx.font = `11.5px ${colours.font}`;
  ctx.textBaseline = "alphabetic";
  if (layout.form !== "cells" && layout.places.length) {
    const first = layout.places[0];
    ctx.textAlign = "right";
    ctx.fillText("queue", first.slotX - 8, 12);
    ctx.fillText("in flight", layout.numberX, 12);
    ctx.textAlign = "left";
    if (first.nameX + 60 < layout.numberX - 44) ctx.fillText("server", first.nameX, 12);
  }
  ctx.font = `600 12px ${colours.font}`;
  ctx.textAlign = "left";
  for (const title of layout.titles) ctx.fillText(title.text, layout.queueX, title.y);
}

/** Waiting requests that are not known one by one. */
function queueOf(scene: Scene, place: Place): void {
  const { ctx, layout, frame, jobs, smooth, colours, singles } = scene;
  const room = queueRoom(layout, place);
  const queued = frame.server(place.server, "queued");
  const y = place.y + place.height / 2;
  // The channel in which requests wait.
  rounded(ctx, layout.queueX - 6, y - layout.radius - 2, place.slotX - layout.queueX + 2, 2 * layout.radius + 4, layout.radius + 2);
  ctx.fillStyle = colours.raised;
  ctx.fill();
  ctx.fillStyle = colours.kinds.plain;
  if (singles) {
    const unknown = Math.max(0, queued - jobs.queues[place.server].length);
    ctx.beginPath();
    for (let n = 0; n < Math.min(unknown, room); n++) {
      const { x } = queuePoint(layout, place, n);
      shape(ctx, "plain", x, y, layout.radius);
    }
    ctx.fill();
  } else {
    const length = Math.min(smooth.queue[place.server], room) * layout.step;
    if (length > 0.6) {
      rounded(ctx, place.slotX - 8 - length, y - layout.radius, length, 2 * layout.radius, layout.radius);
      ctx.fill();
    }
  }
}

/** How many wait where a queue is longer than its channel: above the requests. */
function overflow({ ctx, layout, frame, colours }: Scene, place: Place): void {
  const queued = frame.server(place.server, "queued");
  if (queued <= queueRoom(layout, place)) return;
  const y = place.y + place.height / 2;
  const text = String(queued);
  ctx.font = `600 11px ${colours.font}`;
  const width = ctx.measureText(text).width + 10;
  rounded(ctx, layout.queueX - 4, y - 8, width, 16, 8);
  ctx.fillStyle = colours.ground;
  ctx.fill();
  ctx.strokeStyle = colours.kinds.plain;
  ctx.lineWidth = 1;
  ctx.stroke();
  ctx.fillStyle = colours.ink;
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  ctx.fillText(text, layout.queueX + 1, y + 0.5);
}

function slotsOf(scene: Scene, place: Place): void {
  const { ctx, layout, frame, jobs, smooth, colours, singles } = scene;
  const y = place.y + place.height / 2;
  const size = layout.radius + 2.5;
  const condition = frame.server(place.server, "condition");
  const serving = frame.server(place.server, "in_service");
  const single = place.slots <= place.shownSlots;
  ctx.lineWidth = 1.25;
  for (let n = 0; n < (single ? place.shownSlots : 1); n++) {
    const { x } = slotPoint(layout, place, n, place.shownSlots);
    const width = single ? 2 * size : place.shownSlots * (layout.step + 2) - 2;
    const left = single ? x - size : place.slotX + 1;
    rounded(ctx, left, y - size, width, 2 * size, 3);
    ctx.fillStyle = condition & 1 ? colours.badGround : colours.raised;
    ctx.fill();
    const known = singles ? jobs.serving[place.server].length : 0;
    const busy = singles ? Math.max(0, serving - known) : smooth.serving[place.server];
    const share = single ? Math.max(0, Math.min(1, busy - (singles ? n - known : n))) : Math.min(1, busy / place.slots);
    if (share > 0.02 && (!singles || n >= known || !single)) {
      ctx.fillStyle = colours.kinds.plain;
      if (single) {
        ctx.globalAlpha = singles ? 1 : share;
        ctx.beginPath();
        shape(ctx, "plain", x, y, layout.radius);
      } else rounded(ctx, left + 2.5, y - size + 2.5, (width - 5) * share, 2 * size - 5, 2);
      ctx.fill();
      ctx.globalAlpha = 1;
    }
    ctx.setLineDash(condition & (1 | 32) ? [2, 2.5] : []);
    ctx.strokeStyle = condition & (1 | 2 | 8) ? colours.bad : colours.strong;
    rounded(ctx, left, y - size, width, 2 * size, 3);
    ctx.stroke();
    ctx.setLineDash([]);
  }
}

const rateOf = (frame: Frame, server: number) => frame.server(server, "rate");

function words(scene: Scene, place: Place): void {
  const { ctx, layout, frame, colours } = scene;
  const y = place.y + place.height / 2;
  const tight = layout.form === "tight";
  const condition = frame.condition(place.server);
  ctx.textBaseline = "middle";
  ctx.textAlign = "left";
  ctx.font = `${condition ? "600 " : ""}${tight ? 10.5 : 12.5}px ${colours.font}`;
  ctx.fillStyle = condition ? colours.bad : colours.ink;
  const room = layout.numberX - 24 - place.nameX;
  const name = condition ? `${condition.icon} ${place.name}` : place.name;
  const cached = place.cache ? frame.server(place.server, "cached") / place.cache : null;
  const lift = cached != null && !tight ? 2.5 : 0;
  ctx.fillText(fit(ctx, name, room), place.nameX, y - lift + 0.5);
  const used = ctx.measureText(name).width;
  const rate = rateOf(frame, place.server);
  const note = condition ? condition.word : rate !== 1 && rate > 0 ? `${Number(rate.toPrecision(2))}x` : "";
  if (note && used + 8 + ctx.measureText(note).width < room) {
    ctx.font = `11px ${colours.font}`;
    ctx.fillStyle = condition ? colours.bad : colours.soft;
    ctx.fillText(note, place.nameX + used + 6, y - lift + 0.5);
  }
  if (cached != null && !tight) {
    rounded(ctx, place.nameX, y + 7, 44, 3, 1.5);
    ctx.fillStyle = colours.line;
    ctx.fill();
    rounded(ctx, place.nameX, y + 7, 44 * Math.min(1, cached), 3, 1.5);
    ctx.fillStyle = colours.kinds.hit;
    ctx.fill();
  }
  ctx.textAlign = "right";
  ctx.font = `${tight ? 10.5 : 12}px ${colours.font}`;
  ctx.fillStyle = colours.soft;
  ctx.fillText(String(frame.server(place.server, "in_flight")), layout.numberX, y + 0.5);
}

function ground(scene: Scene, place: Place): void {
  const { ctx, chosen, pointed, colours, layout } = scene;
  if (place.server !== chosen && place.server !== pointed) return;
  rounded(ctx, place.x - 2, place.y + 0.5, layout.width - place.x + 2, place.height - 1, 5);
  ctx.fillStyle = place.server === chosen ? colours.accentGround : colours.raised;
  ctx.fill();
  if (place.server !== chosen) return;
  ctx.strokeStyle = colours.accent;
  ctx.lineWidth = 1;
  ctx.stroke();
}

/** A server among very many: how much waits as the height of a bar, its condition as a sign above. */
function cell(scene: Scene, place: Place): void {
  const { ctx, frame, smooth, colours, chosen, pointed } = scene;
  const condition = frame.condition(place.server);
  rounded(ctx, place.x, place.y, place.width, place.height, 3);
  ctx.fillStyle = place.server === chosen ? colours.accentGround : place.server === pointed ? colours.line : condition ? colours.badGround : colours.raised;
  ctx.fill();
  if (condition || place.server === chosen) {
    ctx.strokeStyle = condition ? colours.bad : colours.accent;
    ctx.lineWidth = 1;
    ctx.setLineDash(condition ? [2, 2] : []);
    ctx.stroke();
    ctx.setLineDash([]);
  }
  const busy = Math.min(1, smooth.serving[place.server] / Math.max(1, place.slots));
  const queue = smooth.queue[place.server];
  const room = place.height - 8;
  const height = Math.min(room, queue * 3);
  ctx.fillStyle = colours.kinds.plain;
  ctx.globalAlpha = 0.25 + 0.35 * busy;
  ctx.fillRect(place.x + 3, place.y + place.height - 5, (place.width - 6) * busy, 3);
  ctx.globalAlpha = 1;
  ctx.fillRect(place.x + 3, place.y + place.height - 6 - height, place.width - 6, height);
  ctx.textAlign = "center";
  ctx.textBaseline = "top";
  ctx.font = `600 10px ${colours.font}`;
  if (condition) {
    ctx.fillStyle = colours.bad;
    ctx.fillText(condition.icon, place.x + place.width / 2, place.y + 3);
  } else if (queue >= 10) {
    ctx.fillStyle = height > room - 12 ? colours.ground : colours.ink;
    ctx.fillText(String(Math.round(queue)), place.x + place.width / 2, place.y + 4);
  }
}

function dots({ ctx, layout, jobs, colours }: Scene): void {
  const solid = new Map<Kind, Path2D>();
  const hollow = new Path2D();
  const put = (dot: Dot) => {
    if (dot.abandoned) {
      shape(hollow, "plain", dot.x, dot.y, layout.radius - 0.75);
      return;
    }
    let path = solid.get(dot.kind);
    if (!path) solid.set(dot.kind, path = new Path2D());
    shape(path, dot.kind, dot.x, dot.y, layout.radius);
  };
  for (const dot of jobs.alive.values()) if (dot.placed) put(dot);
  for (const [kind, path] of solid) {
    ctx.fillStyle = colours.kinds[kind];
    ctx.fill(path);
  }
  ctx.strokeStyle = colours.kinds.late;
  ctx.lineWidth = 1.5;
  ctx.stroke(hollow);
  for (const dot of jobs.fading) {
    ctx.globalAlpha = Math.max(0, 1 - dot.gone / fade(dot)) * (dot.kind === "failed" ? 1 : 0.45);
    ctx.beginPath();
    shape(ctx, dot.kind, dot.x, dot.y, dot.kind === "failed" ? layout.radius : layout.radius * 0.8);
    if (dot.kind === "failed") {
      ctx.strokeStyle = colours.kinds.failed;
      ctx.lineWidth = 2;
      ctx.stroke();
    } else {
      ctx.fillStyle = colours.kinds[dot.kind];
      ctx.fill();
    }
  }
  ctx.globalAlpha = 1;
}

export function draw(scene: Scene, ratio: number): void {
  const { ctx, layout } = scene;
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.clearRect(0, 0, layout.width, layout.height);
  for (const place of layout.places) if (layout.form !== "cells") ground(scene, place);
  ways(scene);
  heads(scene);
  for (const place of layout.places) {
    if (layout.form === "cells") {
      cell(scene, place);
      continue;
    }
    slotsOf(scene, place);
    queueOf(scene, place);
    words(scene, place);
  }
  if (scene.singles) dots(scene);
  if (layout.form !== "cells") for (const place of layout.places) overflow(scene, place);
  ends(scene);
}
