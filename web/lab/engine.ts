/**
 * The interface between the lab's page and its engine, a WebAssembly module with a C ABI (crates/lab). Times are seconds (f64) unless a
 * name says nanoseconds. "Server index" numbers servers over all pools, in the order of the model (pool by pool, slot by slot).
 *
 * Exports of the module (u32 unless said otherwise; strings are UTF-8 JSON written to memory from lab_alloc by the caller):
 *   memory
 *   lab_abi() -> version (1); call it first
 *   lab_alloc(len) -> ptr;  lab_free(ptr, len)
 *   lab_output() -> ptr;  lab_output_len() -> bytes        output of the last call; valid until the next one. Read memory.buffer
 *                                                          again after each call: it is another one when memory has grown
 *   lab_panic() -> ptr | 0;  lab_panic_len() -> bytes      after a trap (RuntimeError): what went wrong. The instance is lost then
 *   lab_call(ptr, len) -> 0 ok | 1 refused                 {op: "...", ...}: see Calls; output JSON (refused: Refusal)
 *   lab_open(ptr, len) -> handle | 0 refused               OpenRequest
 *   lab_close(handle)
 *   lab_step(handle) -> 0 going | 1 over | 2 error (output: Refusal)   one event
 *   lab_step_until(handle, nanoseconds: f64) -> same
 *   lab_act(handle, ptr, len) -> 0 | 1 refused             Act at the present time; output Acted or Refusal. For the log: {at: at + "ns", act}
 *   lab_trace(handle, on)                                  on: 0 nothing; 1 events for lab_events and decisions for lab_why; 2 events only
 *   lab_frame(handle)                                      output: Float64 values, see FRAME
 *   lab_events(handle)                                     output: Float64 values, see EVENT; drains what was collected
 *   lab_metrics(handle)                                    output JSON: LiveMetrics
 *   lab_why(handle, job: i32)                              output JSON: Why | null; job -1 = the last decision. The last 64 decisions are kept
 *   lab_record(handle) -> 0 | 1 refused (not over yet)     output JSON: RunResult
 * A handle is one run of one strategy. The page has one worker per strategy, each with its own instance of the module.
 */

/** Bad input: where, and a way out. */
export interface Refusal { message: string; help: string | null; line: number | null; column: number | null;
  /** Further problems of the same text. */ more?: Refusal[] }

export interface OpenRequest {
  /** File name without ending; part of nothing that is random. */
  name: string;
  /** The scenario as TOML. */
  source: string;
  /** Data files that it refers to. */
  files: Record<string, string>;
  /** Label of one of the scenario's strategies, or any strategy in catalogue notation ("p2c"). */
  strategy: string;
  /** null: the scenario's own seed. */
  seed: number | null;
  /** 0 is the first replication of `evenkeel run`. */
  replication: number;
  /** Log of acts in the order of their times, as `evenkeel run --acts` reads them. */
  acts: TimedAct[];
  /** Warm-up in seconds, only for a scenario with Description.auto_warmup (null: a tenth of the duration); null otherwise. */
  warmup: number | null;
}
/** As serde serialises sim::TimedAct. `at` with a unit, "1.5s" or "1500000000ns": a number alone is refused. */
export interface TimedAct { at: string; act: Act }
/** `at` in nanoseconds: the act as { at: `${at}ns`, act } in a log has the same effect. */
export interface Acted { at: number; faults: Fault[] }
export type Act = { strike: { target: string; for?: string; stagger?: string; batch_size?: number; kind: Record<string, unknown> | string } }
  | { set_load: { factor: number } };

/** FRAME: header, then one record per server. */
export const FRAME_HEADER = ["time", "over", "events", "arrived", "in_system", "ended_ok", "ended_failed", "load_factor", "balancer_queue", "servers"] as const;
export const FRAME_SERVER = ["queued", "in_service", "coming", "rate" /* work per second and slot: speed / slowdown */, "speed", "slots",
  "condition" /* bits: 1 crashed, 2 stalled, 4 slow, 8 errors, 16 draining, 32 not a member */,
  "eligible" /* share of views (balancers) that may pick it, 0..1 */, "in_flight" /* summed over views */, "cached",
  "picked" /* total */, "answered", "failed", "hits", "misses", "busy" /* seconds of slot time used so far */] as const;

/** EVENT: six values each: kind, time, job, server index or -1, detail, other. Jobs are re-used after "released". At most 200,000
 * events between two calls of lab_events; "dropped" (detail: how many) is the last one if there were more. */
export const EVENT_VALUES = 6;
export const EVENT = {
  arrived: 0, /* server: balancer index; detail: path index (at most 65535) + 65536 * ORIGIN; other: the job of the request (ORIGIN
    retry, hedge, first_attempt), the calling job (ORIGIN call), else -1. In a pool with retries or hedging a request's own job stays
    at its balancer, and each attempt is a job of its own. */
  picked: 1, /* server -1: none was eligible, or the balancer rejected it */
  entered: 2, started: 3 /* detail: 1 hit, 0 miss, -1 no cache */, left: 4,
  ended: 5 /* for its client; detail: outcome index (Catalog.outcomes), 0 = ok */,
  queued: 6 /* at the balancer; detail: pool */, dequeued: 7,
  returned: 8 /* response back at the balancer; detail: outcome index */, abandoned: 9, released: 10,
  fault_started: 11 /* job: fault number; server: its server or -1; detail: its balancer or -1 */, fault_ended: 12,
  health: 13 /* detail: 1 up, 0 down; other: view, a balancer's knowledge of a pool */, ejected: 14 /* detail: until; other: view */,
  readmitted: 15, joined: 16, left_pool: 17, load_changed: 18 /* detail: factor */,
  draining: 19 /* detail: 1 starts, 0 ends */,
  failed: 20 /* its server fails it: full, error, down, crashed; detail: outcome index, -1 if there will be no answer */,
  dropped: 21, at_balancer: 22,
} as const;
export const ORIGIN = { request: 0, retry: 1, hedge: 2, call: 3, first_attempt: 4 } as const;

/** Calls: {op: "describe", name, source, files} -> Description. */
export interface Description {
  name: string; title: string; question: string; answer: string | null;
  kind: "steady" | "terminating";
  /** Span of the run: [0, warmup + duration). */
  duration: number; warmup: number; auto_warmup: boolean; seed: number; replications: number;
  strategies: { label: string; name: string; family: string }[];
  pools: { name: string; paths: string[]; tier: 1 | 2; first: number; servers: { name: string; weight: number; speed: number; slots: number;
    queue_limit: number | null; zone: string | null; cache: number | null; discipline: "fcfs" | "ps" }[]; policies: string[];
    /** Its own strategy, if it has one. */ strategy: string | null }[];
  balancers: number; shards: number; paths: string[];
  /** Sentences: arrivals, service, time-outs, retries, … with units. */
  facts: [string, string][];
  controls: Control[];
  faults: Fault[];
  /** Whether set_load is possible. */
  load_can_change: boolean;
  /** Offered load of the entry pools, 0..: arrival rate x mean work / capacity; null where unknown. */
  load: number | null;
  /** Values from queueing theory where a theorem applies. */
  theory: { metric: string; strategy: string; value: number; source: string }[];
  warnings: string[];
}
/** server, balancer: index, or -1. A rolling deploy is several faults. */
export interface Fault { number: number; target: string; server: number; balancer: number; kind: string; at: number; for: number | null;
  sentence: string }
/** A setting of the scenario that the page can change. `key` is a path as in `--set`; where the key is not in the text it is inserted. */
export interface Control { key: string; group: "load" | "servers" | "service" | "keys" | "reports" | "balancers" | "clients" | "retries" | "strategy";
  label: string; doc: string; /** TOML value as written, or null if absent */ value: string | null;
  shape: { kind: "number"; min: number; max: number; step: number; unit: "" | "%" | "ms" | "s" | "/s"; log: boolean } | { kind: "choice"; options: { label: string; value: string }[] } | { kind: "switch" } }

/** {op: "edit", source, changes: [{key, value: TOML value as written | null to remove}]} -> {source}. Comments and layout stay. */
/** {op: "catalog"} -> Catalog */
export interface Catalog {
  version: string; /** hashes of the source that the engine was built from */ source: string;
  families: { name: string; doc: string }[];
  strategies: { name: string; title: string; family: string; idea: string; rule: string; signals: string; weakness: string; source: string; aliases: string[];
    parameters: { name: string; doc: string; /** TOML */ default: string; values: [string, string][]; control: Control["shape"] | null }[] }[];
  faults: { kind: string; label: string; doc: string; /** {kind value for Act.strike.kind with good defaults} */ example: Record<string, unknown>; balancer: boolean; /** whether `for` may be given */ lasts: boolean }[];
  metrics: { name: string; label: string; unit: "s" | "1/s" | "share" | "index" | "number"; direction: "lower" | "higher" | "neither"; doc: string }[];
  outcomes: string[];
}
export interface LiveMetrics {
  /** Measured requests that have ended so far; 0 during the warm-up. */ count: number;
  /** Over the measured requests so far; names as in metrics.csv; null = no value. */
  values: Record<string, number | null>;
  /** [q, latency] at about 60 quantiles; [] before the first answer. */ cdf: [number, number][];
  /** One entry per bin of 1/200 of the run (warm-up and duration) that is over. */
  series: { width: number; p50: (number | null)[]; p99: (number | null)[]; rate: number[]; errors: number[]; in_system: number[] };
}
export interface Why {
  time: number; job: number; request: { id: number; client: string; path: string; key: string };
  pool: number; /** index of the balancer's selector */ selector: number; picked: number | null;
  /** One to three sentences with the numbers: why this server. */ sentence: string;
  servers: { server: number; name: string; eligible: boolean; /** tried already, or at its limit */ excluded: boolean;
    /** full by the strategy's own rule */ passed_over: boolean; in_flight: number; weight: number; /** lower is better */ score: number | null;
    /** What the balancer cannot see; work: seconds until it would be idle. */ truth: { queued: number; in_service: number; work: number } }[];
  score_meaning: string | null;
  /** Of a sample with several servers the lowest score wins; null: among all servers. */
  placement: { kind: "sample"; servers: number[] } | { kind: "ring"; /** positions 0..1 on the circle */ at: number; points: [number, number][] }
    | { kind: "table"; /** entries in all */ size: number; /** index among those shown */ at: number; /** server of each entry, -1 none, at most 4096 shown */ entries: number[] }
    | { kind: "order"; servers: number[]; /** index in servers: earlier ones are passed over */ next: number } | null;
}
/** {op: "moves", handle, server} -> Moves | null (no hash strategy): keys at each server of its pool, in slot order, with and without that
 * server; moved: share of the keys that have another server; ideal: share of the keys that it had itself. */
export interface Moves { before: number[]; after: number[]; moved: number; ideal: number }
export interface RunResult { /** 16 hexadecimal digits */ pick_hash: string; workload_hash: string; requests: number; measured: number; events: number; values: Record<string, number | null> }
/** {op: "replication", ...OpenRequest} -> RunResult.
 * {op: "summary", results: {strategy: string, values: Record<string, number | null>[]}[]} -> Summary; the values of each strategy in the order
 * of the replications (the same index: the same requests). Ties need five replications. */
export interface RunResult { /** 16 hexadecimal digits */ pick_hash: string; workload_hash: string; requests: number; measured: number; events: number; values: Record<string, number | null> }
/** {op: "replication", ...OpenRequest} -> RunResult;  {op: "summary", name, source, files, results: {strategy: string, values: Record<string, number|null>[]}[]} -> Summary */
export interface Summary { metrics: { name: string; strategies: { strategy: string; mean: number | null; low: number | null; high: number | null; rank: number | null; tied_with: string[] }[] }[];
  /** Sentences that compare, with numbers. */ answer: string[] }
/** {op: "difference", a: {strategy, metrics: LiveMetrics.values}, b: ...} is done by the page. */

/** {op: "lesson", source} -> Lesson (source: text of lessons/NN-name.toml). {op: "grade", lesson: source, solution: TOML} -> Grade. */
export interface Lesson { number: number; name: string; title: string; summary: string; minutes: number; intro: string;
  predict: { question: string; options: string[]; answer: number };
  watch: { scenario: string; strategies: string[]; seed: number | null; speed: number; until: number; focus: string[]; look_for: string[] };
  /** {metric[strategy]} stands for a number that is measured in the watched run. */ explain: string;
  challenge: { task: string; hints: string[]; scenario: string; may_change: string[]; expects: string[] };
  solution: { changes: { key: string; value: string | null }[]; text: string } }
export interface Grade { lesson: number; passed: boolean; /** a hint that helps from here */ hint: string | null; changed: string[]; not_allowed: string[];
  checks: { assert: string; holds: boolean; left: number | null; right: number | null; values: string; reason: string }[]; message: string }
