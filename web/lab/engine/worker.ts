// A worker: one instance of the engine, with at most one open run.
import { type Engine, instantiate, Refused, type Trace } from "./abi";
import type { Advance, Order, Reply, Request, Want } from "./messages";

/** The part of a worker's global scope that is used; the DOM's types have no name for it. */
const scope = self as unknown as { postMessage(message: unknown, transfer: Transferable[]): void; onmessage: ((event: MessageEvent) => void) | null };

/** Events without anything to see, such as timers, before a single step gives up. */
const UNSEEN = 2000;

let engine: Promise<Engine> | null = null;
let handle = 0;
let level: Trace = 0;

function result(of: Engine, over: boolean, want: Want, started: number, events: Float64Array<ArrayBuffer> | null = null): Advance {
  if (!want.events && !events) of.drain(handle);
  return {
    over,
    frame: of.frame(handle),
    events: events ?? (want.events ? of.events(handle) : null),
    metrics: want.metrics || over ? of.metrics(handle) : null,
    cost: performance.now() - started,
  };
}

function singleEvent(of: Engine, want: Want, started: number): Advance {
  if (level === 0) of.trace(handle, level = 2);
  for (let n = 0; n < UNSEEN; n++) {
    const over = of.step(handle);
    const events = of.events(handle);
    if (over || events.length > 0) return result(of, over, want, started, events);
  }
  return result(of, false, want, started);
}

async function execute(order: Order): Promise<unknown> {
  if (order.op === "start") {
    engine = instantiate(order.module);
    await engine;
    return null;
  }
  if (!engine) throw new Error("The engine has not been started.");
  const of = await engine;
  const started = performance.now();
  switch (order.op) {
    case "open":
      if (handle) of.close(handle);
      handle = 0;
      handle = of.open(order.request);
      of.trace(handle, level = order.trace);
      return result(of, false, { events: false, metrics: false }, started);
    case "close":
      if (handle) of.close(handle);
      handle = 0;
      return null;
    case "advance": {
      const over = of.stepUntil(handle, order.until);
      return result(of, over, order.want, started);
    }
    case "event": return singleEvent(of, order.want, started);
    case "act": return of.act(handle, order.act);
    case "trace": of.trace(handle, level = order.level); return null;
    case "why": return of.why(handle, order.job);
    case "moves": return of.call({ op: "moves", handle, server: order.server });
    case "record": return of.record(handle);
    case "call": return of.call(order.request);
  }
}

function transfers(value: unknown): Transferable[] {
  const { frame, events } = (value ?? {}) as Partial<Advance>;
  return [frame?.buffer, events?.buffer].filter((buffer): buffer is ArrayBuffer => buffer != null && buffer.byteLength > 0);
}

// One after the other: an order may wait for the engine to start.
let last: Promise<unknown> = Promise.resolve();
scope.onmessage = ({ data }: MessageEvent<Request>) => {
  last = last.then(async () => {
    let reply: Reply;
    try {
      reply = { id: data.id, value: await execute(data.order) };
    } catch (error) {
      const trap = error instanceof WebAssembly.RuntimeError ? (await engine)?.panic() : null;
      reply = error instanceof Refused ? { id: data.id, refusal: error.refusal } : { id: data.id, error: trap ?? String(error) };
    }
    scope.postMessage(reply, "value" in reply ? transfers(reply.value) : []);
  });
};
