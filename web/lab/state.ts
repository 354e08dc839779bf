// What the page shows: the scenario, its lanes, the clock, what is selected. `playback/session.ts` changes it; all parts read it.
import { computed, signal, type Signal } from "@preact/signals";
import { numbered, type Style } from "../shared/palette";
import { Client } from "./client";
import type { Catalog, Description, LiveMetrics, Refusal, TimedAct } from "./engine";
import type { Frame } from "./frame";

export interface Scenario {
  /** File name without ending. */
  name: string;
  /** TOML. */
  source: string;
  /** Data files that it refers to. */
  files: Record<string, string>;
}

/** A setting that differs from the scenario's text; null removes it. */
export interface Change { key: string; value: string | null }

type EventListener = (events: Float64Array, frame: Frame) => void;

/** One strategy beside others: its worker and what it shows. */
export class Lane {
  private static last = 0;
  readonly id = ++Lane.last;
  client = new Client();
  readonly frame: Signal<Frame | null> = signal(null);
  readonly metrics: Signal<LiveMetrics | null> = signal(null);
  readonly error: Signal<Refusal | null> = signal(null);
  readonly over = signal(false);
  /** Called with what has happened (EVENT in engine.ts) where events are collected; before `frame` changes. */
  readonly listeners = new Set<EventListener>();
  /** Called when the run starts again or jumps: pictures of single requests are void. */
  readonly resets = new Set<() => void>();
  /** Time that the run has reached, in seconds; null if it must be opened. */
  time: number | null = null;
  constructor(public strategy: string, readonly style: Style) {}

  /** Another worker, after one that is lost. */
  renew(): void {
    this.client.dispose();
    this.client = new Client();
    this.time = null;
  }
}

/** At most this many lanes. */
export const LANES = 4;

export const scenario = signal<Scenario | null>(null);
export const changes = signal<Change[]>([]);
/** The scenario's text with the changes. */
export const source = signal("");
export const description = signal<Description | null>(null);
export const catalog = signal<Catalog | null>(null);
/** Why the scenario could not be read. */
export const refusal = signal<Refusal | null>(null);
export const lanes = signal<Lane[]>([]);

/** Seconds since the start of the run. */
export const clock = signal(0);
/** End of the run. */
export const end = computed(() => (description.value ? description.value.warmup + description.value.duration : 0));
export const playing = signal(false);
/** Seconds of the run per second. */
export const speed = signal(1);
/** What is reached of it; less than `speed` where the processor does not keep up. */
export const reached = signal(1);
/** Playing stops here; null: at the end. */
export const stopAt = signal<number | null>(null);
/** While lanes catch up with the clock: how far they are, 0..1. */
export const progress = signal<number | null>(null);
/** null: the scenario's seed. */
export const seed = signal<number | null>(null);
/** Faults and changes of the load by the user, in the order of time. */
export const acts = signal<TimedAct[]>([]);

/** A server that is looked at; `lane` is the lane's place. */
export const selected = signal<{ lane: number; server: number } | null>(null);
/** A request that is looked at, by its job. */
export const request = signal<{ lane: number; job: number } | null>(null);
/** What is pointed at in legends: a lane's id. */
export const highlight = signal<number | string | null>(null);

export const mode = signal<"explore" | "lesson">("explore");

export const settings = {
  /** Whether the panel with settings, faults and the inspector is shown. */
  panel: signal(true),
  tab: signal<"settings" | "faults" | "inspector">("settings"),
  /** Keys that may be changed; null: all. */
  mayChange: signal<string[] | null>(null),
  /** Whether single events and decisions are collected at any speed, as the inspector needs it. */
  trace: signal(false),
  /** Big type, for a projector. */
  big: signal(false),
  /** Only the lessons are shown: no stage and no playback bar. Nothing may run before a guess is committed. */
  alone: signal(false),
  /** No header and no footer: inside another page. */
  embedded: signal(false),
};

/** Style of the lane at a place: colour, dash and marker. */
export const laneStyle = (place: number): Style => numbered(place);

/** Name that a lane's strategy has in sentences. */
export const strategyName = (strategy: string): string => strategy.split("(")[0];
