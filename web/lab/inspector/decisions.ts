// Decisions of a lane: the last one, the next one, and those that were looked at before.
import { batch, signal } from "@preact/signals";
import { EVENT, EVENT_VALUES, type Why } from "../engine";
import { arrive, exclusive } from "../playback/lanes";
import { pause } from "../playback/driver";
import { clock, type Lane, lanes } from "../state";

/** Single steps before the search for a decision gives up. */
const MOST_STEPS = 5000;
/** Decisions that can be looked at again. */
const KEPT = 40;

const same = (a: Why | undefined, b: Why): boolean => a != null && a.request.id === b.request.id && a.time === b.time && a.job === b.job;

export class Decisions {
  /** In the order of time. */
  readonly seen = signal<Why[]>([]);
  readonly place = signal(0);
  readonly busy = signal(false);
  /** The run has ended without a further decision. */
  readonly ended = signal(false);
  constructor(readonly lane: Lane) {}

  get now(): Why | null { return this.seen.value[this.place.value] ?? null; }

  clear(): void {
    batch(() => { this.seen.value = []; this.place.value = 0; this.ended.value = false; });
  }

  private add(why: Why): void {
    const all = this.seen.peek();
    if (same(all[all.length - 1], why)) {
      this.place.value = all.length - 1;
      return;
    }
    const next = [...all.filter((one) => one.time <= why.time), why].slice(-KEPT);
    batch(() => { this.seen.value = next; this.place.value = next.length - 1; });
  }

  /** The last decision of the run so far, or that about a job. */
  async look(job = -1): Promise<void> {
    const why = await this.lane.client.why(job).catch(() => null);
    if (why) this.add(why);
  }

  back(): void { if (this.place.value > 0) this.place.value -= 1; }

  /** The next one that was looked at, else the next one of the run; the other lanes follow to its time. */
  async next(): Promise<void> {
    if (this.place.value + 1 < this.seen.value.length) {
      this.place.value += 1;
      return;
    }
    if (this.busy.value) return;
    pause();
    this.busy.value = true;
    try {
      await exclusive(() => this.step());
      await this.look();
    } finally {
      this.busy.value = false;
    }
  }

  private async step(): Promise<void> {
    const { lane } = this;
    const want = { events: true, metrics: false };
    if (lane.time == null || lane.error.peek()) return;
    for (let n = 0, found = false; n < MOST_STEPS && !found && !lane.over.peek(); n++) {
      const advance = await lane.client.event(want);
      const events = advance.events ?? new Float64Array();
      for (let i = 0; i < events.length; i += EVENT_VALUES) found ||= events[i] === EVENT.picked;
      arrive(lane, advance);
    }
    this.ended.value = lane.over.peek();
    const others = lanes.peek().filter((one) => one !== lane && one.time != null && !one.error.peek());
    await Promise.all(others.map(async (one) => arrive(one, await one.client.stepUntil(lane.time!, want))));
    clock.value = lane.time;
  }
}
