// The module's C ABI as methods: strings and numbers go through its memory. Used by the workers and by tests in Node.
import type { Acted, Description, LiveMetrics, OpenRequest, Refusal, RunResult, TimedAct, Why } from "../engine";

interface Exports {
  memory: WebAssembly.Memory;
  lab_abi(): number;
  lab_alloc(length: number): number;
  lab_free(at: number, length: number): void;
  lab_output(): number;
  lab_output_len(): number;
  lab_panic(): number;
  lab_panic_len(): number;
  lab_call(at: number, length: number): number;
  lab_open(at: number, length: number): number;
  lab_close(handle: number): void;
  lab_step(handle: number): number;
  lab_step_until(handle: number, nanoseconds: number): number;
  lab_act(handle: number, at: number, length: number): number;
  lab_trace(handle: number, level: number): void;
  lab_frame(handle: number): void;
  lab_events(handle: number): void;
  lab_metrics(handle: number): void;
  lab_why(handle: number, job: number): void;
  lab_record(handle: number): number;
}

/** What is collected: nothing, events and decisions, events only. */
export type Trace = 0 | 1 | 2;

const ABI = 1;

/** Input that the engine refuses: with the place and a way out. */
export class Refused extends Error {
  constructor(readonly refusal: Refusal) {
    super(refusal.message);
  }
}

const writer = new TextEncoder();
const reader = new TextDecoder();

export class Engine {
  constructor(private readonly raw: Exports) {
    if (raw.lab_abi() !== ABI) throw new Error(`The engine has interface ${raw.lab_abi()}; this page needs ${ABI}.`);
  }

  /** Hands JSON to `use`; the memory is free afterwards, unless the module traps: then it is lost anyway. */
  private with<T>(value: unknown, use: (at: number, length: number) => T): T {
    const bytes = writer.encode(JSON.stringify(value));
    const at = this.raw.lab_alloc(bytes.length);
    new Uint8Array(this.raw.memory.buffer, at, bytes.length).set(bytes);
    const result = use(at, bytes.length);
    this.raw.lab_free(at, bytes.length);
    return result;
  }

  private json<T>(): T {
    const bytes = new Uint8Array(this.raw.memory.buffer, this.raw.lab_output(), this.raw.lab_output_len());
    return JSON.parse(reader.decode(bytes)) as T;
  }

  private numbers(): Float64Array<ArrayBuffer> {
    const [at, length] = [this.raw.lab_output(), this.raw.lab_output_len()];
    const copy = new Uint8Array(length);
    copy.set(new Uint8Array(this.raw.memory.buffer, at, length));
    return new Float64Array(copy.buffer);
  }

  private answer<T>(refused: boolean): T {
    if (refused) throw new Refused(this.json<Refusal>());
    return this.json<T>();
  }

  /** What went wrong after a trap, in which the instance is lost; null without one. */
  panic(): string | null {
    const at = this.raw.lab_panic();
    return at ? reader.decode(new Uint8Array(this.raw.memory.buffer, at, this.raw.lab_panic_len())) : null;
  }

  call<T>(request: { op: string } & Record<string, unknown>): T {
    return this.with(request, (at, length) => this.answer<T>(this.raw.lab_call(at, length) !== 0));
  }

  describe(name: string, source: string, files: Record<string, string>): Description {
    return this.call({ op: "describe", name, source, files });
  }

  open(request: OpenRequest): number {
    return this.with(request, (at, length) => {
      const handle = this.raw.lab_open(at, length);
      if (handle === 0) throw new Refused(this.json<Refusal>());
      return handle;
    });
  }

  close(handle: number): void {
    this.raw.lab_close(handle);
  }

  private stepped(state: number): boolean {
    if (state === 2) throw new Refused(this.json<Refusal>());
    return state === 1;
  }

  /** One event; whether the run is over. */
  step(handle: number): boolean {
    return this.stepped(this.raw.lab_step(handle));
  }

  /** Everything up to a time in seconds; whether the run is over. */
  stepUntil(handle: number, time: number): boolean {
    return this.stepped(this.raw.lab_step_until(handle, Math.round(time * 1e9)));
  }

  act(handle: number, act: TimedAct["act"]): Acted {
    return this.with(act, (at, length) => this.answer<Acted>(this.raw.lab_act(handle, at, length) !== 0));
  }

  trace(handle: number, level: Trace): void {
    this.raw.lab_trace(handle, level);
  }

  frame(handle: number): Float64Array<ArrayBuffer> {
    this.raw.lab_frame(handle);
    return this.numbers();
  }

  events(handle: number): Float64Array<ArrayBuffer> {
    this.raw.lab_events(handle);
    return this.numbers();
  }

  /** Forgets the events that were collected. */
  drain(handle: number): void {
    this.raw.lab_events(handle);
  }

  metrics(handle: number): LiveMetrics {
    this.raw.lab_metrics(handle);
    return this.json();
  }

  why(handle: number, job: number): Why | null {
    this.raw.lab_why(handle, job);
    return this.json();
  }

  record(handle: number): RunResult {
    return this.answer(this.raw.lab_record(handle) !== 0);
  }
}

export const instantiate = async (module: WebAssembly.Module): Promise<Engine> =>
  new Engine((await WebAssembly.instantiate(module, {})).exports as unknown as Exports);
