/**
 * The document of a report: everything that the page shows. The program writes it as JSON into the page; `null` stands for a value that
 * does not exist (not finite, or not measured). Times are seconds unless a name says otherwise. Strategies are referred to by their index
 * in `strategies` of the same section.
 */
export interface Report {
  schema_version: 1;
  /** The command that made the results. */
  kind: "run" | "sweep" | "compare" | "validate" | "twin" | "index";
  /** Name of the scenario, `slow-server`; for other kinds a short name. */
  name: string;
  title: string;
  /** Paragraphs, separated by a blank line. */
  question: string;
  /** One or two sentences for each ranking (for each pool where pools are the question), computed from the statistics. */
  answer: string[];
  /** What the scenario's author explains; paragraphs, or null. */
  explanation: string | null;
  /** Settings in words: ["offered load", "60 %"], ["replications", "10"], … */
  facts: [string, string][];
  /** Warm-up, saturation, too few runs, … with the strategies concerned (labels). */
  warnings: { text: string; strategies: string[] }[];
  /** A run; for sweeps the run at the first point is not repeated here. */
  run: Run | null;
  sweep: Sweep | null;
  /** Generic sections: all that compare, validate, twin and the index show. */
  sections: Section[];
  repeat: Repeat;
}

export interface Metric {
  /** Name without pool: `latency.p99`. */
  name: string;
  label: string;
  /** How to show it: seconds (ms, s), rate (1/s), share (percent), index (0 to 1, three decimals), number. */
  unit: "s" | "1/s" | "share" | "index" | "number";
  direction: "lower" | "higher" | "neither";
  doc: string;
}

/** value, lower and upper end of the 95 % interval. */
export type Estimate = [number | null, number | null, number | null];

export interface Run {
  metrics: Metric[];
  /** Entry pools, where there are several; else empty. Results of pools are more informative than the whole then. */
  pools: string[];
  /** Families in the order of the catalogue, with the text of the documentation. */
  families: { name: string; doc: string }[];
  /** In the order of the table: the best first. */
  strategies: Strategy[];
  /** Indices of strategies that picked the same servers in every run; only groups of two or more. */
  same_picks: number[][];
  /** Distribution of the latency; one per scope: null for all requests, else the pool. */
  cdf: { pool: string | null; quantiles: number[]; /** by strategy, by quantile */ latency: (number | null)[][] }[];
  /** Time series; one per scope. */
  series: Series[];
  /** Load by server over the measured span. */
  servers: { pool: string; server: string; weight: number; capacity: number; /** by strategy */ share: (number | null)[];
             load: (number | null)[]; utilisation: (number | null)[]; in_server: (number | null)[]; errors: (number | null)[];
             hit_ratio: (number | null)[] }[];
  /** Faults of the scenario, to be marked in every chart over time. */
  faults: { start: number; end: number | null; target: string; text: string }[];
  warmup: number;
  duration: number;
  /** One per strategy, or null where the results have none (older results). */
  timelines: (Timeline | null)[];
  why: Why | null;
  /** At most three lines: what happened, and how the last strategy differs from the first; as on the terminal. */
  why_short?: string[];
}

export interface Strategy {
  label: string;
  /** Name in the catalogue. */
  strategy: string;
  family: string;
  /** Position in the catalogue, from 0: the marks in charts follow from it. */
  place?: number | null;
  /** Baseline with perfect information. */
  oracle: boolean;
  /** One sentence of the catalogue. */
  doc: string;
  /** One per ranking: null for all requests, else the pool. */
  verdicts: Verdict[];
  /** `stable`, `backlogged`, `overloaded`, `too_short`, `no_requests`; with the reason in words. */
  state: string;
  state_reason: string;
  /** By metric name; metrics of a pool as `POOL.latency.p99`. Metrics that the strategy does not have are left out. */
  values: Record<string, Estimate>;
  theory: { theorem: string; mean: number | null; p99: number | null; text: string } | null;
  /** Mean latency above the oracle's on the same requests. */
  regret: Estimate | null;
}

export interface Verdict {
  pool: string | null;
  relation: "best" | "tied" | "worse" | "unknown" | "fails_more" | "overloaded" | "none";
  /** Ratio to the best (worse, unknown), or excess share of failed requests (fails_more). */
  by: number | null;
  /** `ties with the best`, `3.4x slower`, `+7.69 pp errors`. */
  text: string;
}

export interface Series {
  pool: string | null;
  time: number[];
  /** All by strategy, by bin. */
  goodput: (number | null)[][];
  errors: (number | null)[][];
  mean: (number | null)[][];
  p99: (number | null)[][];
  in_system: (number | null)[][] | null;
  /** Number of servers, where it changes. */
  servers: (number | null)[][] | null;
}

/** The first replication of a strategy over time, at most about 200 bins for the page. */
export interface Timeline {
  /** Seconds per bin; bin i covers [i × bin, (i + 1) × bin). */
  bin: number;
  servers: { pool: string; server: string; /** Requests sent to it, by bin. */ picks: number[];
             /** Highest number of requests in it (waiting and in service), by bin. */ in_server: number[];
             /** Failed or refused, by bin. */ errors: number[] }[];
  /** By name of the outcome (`timed_out`, …): requests that ended so, by bin. Outcomes that never happened are left out; `ok` is there. */
  outcomes: Record<string, number[]>;
  /** By bin; left out (null) where the scenario has none. */
  retries: number[] | null;
  hedges: number[] | null;
  balancer_queue: number[] | null;
}

export interface Why {
  /** One per strategy, in time order. */
  stories: { /** strategy */ index: number; sentences: Sentence[] }[];
  /** For each pair of strategies with different picks: the decisive difference in one sentence; a < b. */
  differences: { a: number; b: number; text: string }[];
  /** The life of the slowest requests, hop by hop; by strategy. */
  slowest: { index: number; requests: RequestLife[] }[];
  /** Picks with the scores beside the truth; by strategy. */
  picks: { index: number; picks: PickView[] }[];
}

export interface Sentence {
  time: number;
  /** `fault`, `share`, `queue`, `timeout`, `ejection`, `health`, `scale`, `retry`, `limit`, `recovery`, … */
  kind: string;
  text: string;
  /** Server concerned, `pool/server`, or null. */
  server: string | null;
}

export interface RequestLife {
  id: string;
  path: string;
  latency: number;
  outcome: string;
  /** In time order: at [seconds since the start of the run], what. */
  steps: { at: number; text: string; /** Where it is from now on: `client`, `network`, `balancer`, `balancer queue`, `server queue`, `service`, … */ place: string;
           server: string | null }[];
}

export interface PickView {
  time: number;
  request: string;
  pool: string;
  picked: string | null;
  servers: { server: string; eligible: boolean; weight: number; /** What the balancer counts. */ in_flight: number;
             /** Requests really in the server, those of other balancers included. */ truth: number; /** Score of the strategy, if it has any; lower is better. */ score: number | null }[];
  text: string;
}

export interface Sweep {
  metrics: Metric[];
  /** The keys that vary; more than one for a grid. */
  axes: { key: string; unit: string; /** Log scale makes sense. */ log: boolean }[];
  /** Values by axis, as text and as number (null where it is no number). */
  points: { label: string; values: (number | null)[] }[];
  strategies: { label: string; family: string; place?: number | null; oracle: boolean; /** By metric name, by point. */ values: Record<string, Estimate[]> }[];
  /** Sentences on crossing points: "p2c and round_robin cross between 0.70 and 0.80". */
  crossings: { text: string; metric: string; a: number; b: number; between: [number, number] }[];
}

export interface Section {
  heading: string;
  paragraphs: string[];
  table: { columns: { name: string; unit: Metric["unit"] | "text"; doc: string | null }[];
           rows: { cells: (string | number | null)[]; /** Colour and sign of the row: nothing by colour alone. */ mark: "good" | "bad" | "neutral" | null;
                   /** Relative link to another report. */ href: string | null }[] } | null;
}

export interface Repeat {
  command: string;
  version: string;
  commit: string | null;
  seed: string | null;
  machine: string | null;
  scenario_sha256: string | null;
  scenario_source: string | null;
  files: { name: string; doc: string; sha256: string | null }[];
  workloads: string[];
}
