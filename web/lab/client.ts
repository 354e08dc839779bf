// A worker of the page, with typed calls. A lane has one of its own; `tools` answers what concerns no run.
import type { Acted, Catalog, Description, Grade, Lesson, Moves, OpenRequest, Refusal, RunResult, Summary, TimedAct, Why } from "./engine";
import type { Trace } from "./engine/abi";
import { compiled } from "./engine/module";
import type { Advance, Order, Reply, Want } from "./engine/messages";
import LabWorker from "./engine/worker?worker&inline";

/** Bad input, as the engine explains it. */
export class RefusedError extends Error {
  constructor(readonly refusal: Refusal) {
    super(refusal.message);
  }
}

interface Waiting { resolve(value: unknown): void; reject(error: Error): void }

export class Client {
  private readonly worker = new LabWorker();
  private readonly waiting = new Map<number, Waiting>();
  private next = 0;
  private readonly started: Promise<unknown>;

  constructor() {
    this.worker.onmessage = ({ data }: MessageEvent<Reply>) => {
      const one = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if (!one) return;
      if ("value" in data) one.resolve(data.value);
      else one.reject("refusal" in data ? new RefusedError(data.refusal) : new Error(data.error));
    };
    this.worker.onerror = (event) => this.fail(new Error(event.message || "The worker of the simulator stopped."));
    this.started = compiled().then((module) => this.order({ op: "start", module }));
    this.started.catch(() => {});
  }

  private fail(error: Error): void {
    for (const one of this.waiting.values()) one.reject(error);
    this.waiting.clear();
  }

  private order<T>(order: Order): Promise<T> {
    return new Promise((resolve, reject) => {
      const id = this.next++;
      this.waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.worker.postMessage({ id, order });
    });
  }

  private async send<T>(order: Order): Promise<T> {
    await this.started;
    return this.order<T>(order);
  }

  /** Opens the run of this worker; a run that is open is closed. */
  open(request: OpenRequest, trace: Trace = 0): Promise<Advance> { return this.send({ op: "open", request, trace }); }
  /** Ends the run and frees what it holds. */
  close(): Promise<void> { return this.send({ op: "close" }); }
  /** Simulates up to a time in seconds. */
  stepUntil(until: number, want: Want): Promise<Advance> { return this.send({ op: "advance", until, want }); }
  /** Simulates until something visible has happened. */
  event(want: Want): Promise<Advance> { return this.send({ op: "event", want }); }
  /** A fault or a change of the load at the present time of the run; answers that time and the faults. */
  act(act: TimedAct["act"]): Promise<Acted> { return this.send({ op: "act", act }); }
  /** What is collected: 0 nothing, 1 events and decisions, 2 events only. */
  trace(level: Trace): Promise<void> { return this.send({ op: "trace", level }); }
  /** Why a request's server was chosen; -1 is the last decision. Needs `trace`. */
  why(job: number): Promise<Why | null> { return this.send({ op: "why", job }); }
  /** Which keys change their server when one leaves; null for strategies that do not hash. */
  moves(server: number): Promise<Moves | null> { return this.send({ op: "moves", server }); }
  /** The result of a run that is over. */
  record(): Promise<RunResult> { return this.send({ op: "record" }); }
  /** Any call of the engine. */
  call<T>(request: { op: string } & Record<string, unknown>): Promise<T> { return this.send({ op: "call", request }); }
  /** Ends the worker. */
  dispose(): void {
    this.fail(new Error("The worker has been ended."));
    this.worker.terminate();
  }
}

let shared: Client | null = null;

/** The worker for what concerns no run. */
const desk = (): Client => (shared ??= new Client());

export const tools = {
  describe: (name: string, source: string, files: Record<string, string>) => desk().call<Description>({ op: "describe", name, source, files }),
  edit: (source: string, changes: { key: string; value: string | null }[]) => desk().call<{ source: string }>({ op: "edit", source, changes }),
  catalog: () => desk().call<Catalog>({ op: "catalog" }),
  lesson: (source: string) => desk().call<Lesson>({ op: "lesson", source }),
  grade: (lesson: string, solution: string) => desk().call<Grade>({ op: "grade", lesson, solution }),
  summary: (name: string, source: string, files: Record<string, string>, results: { strategy: string; values: Record<string, number | null>[] }[]) =>
    desk().call<Summary>({ op: "summary", name, source, files, results }),
};
