// The state of the page in the address, behind `#`: readable where it is short, compressed where it is not.
import type { TimedAct } from "../engine";
import { scenarios } from "../gallery/scenarios";
import type { Setup } from "../playback/session";
import { acts, type Change, changes, clock, lanes, mode, playing, type Scenario, scenario, seed, settings, speed } from "../state";

interface Rest { changes?: Change[]; acts?: TimedAct[]; scenario?: Scenario }

async function through(bytes: Uint8Array<ArrayBuffer>, stream: CompressionStream | DecompressionStream): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}

async function pack(value: unknown): Promise<string> {
  const bytes = await through(new TextEncoder().encode(JSON.stringify(value)), new CompressionStream("deflate-raw"));
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

async function unpack<T>(text: string): Promise<T> {
  const bytes = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(await through(bytes, new DecompressionStream("deflate-raw")))) as T;
}

/** What follows `#` for what is shown now. */
export async function fragment(): Promise<string> {
  const of = scenario.value!;
  const known = (await scenarios()).find((one) => one.name === of.name && one.source === of.source);
  const rest: Rest = {};
  if (changes.value.length) rest.changes = changes.value;
  if (acts.value.length) rest.acts = acts.value;
  if (!known) rest.scenario = { name: of.name, source: of.source, files: of.files };
  const query = new URLSearchParams();
  if (known) query.set("scenario", of.name);
  for (const lane of lanes.value) query.append("strategy", lane.strategy);
  if (seed.value != null) query.set("seed", String(seed.value));
  query.set("time", String(Number(clock.value.toFixed(6))));
  query.set("speed", String(speed.value));
  if (playing.value) query.set("play", "1");
  if (mode.value === "lesson") query.set("mode", "lesson");
  if (Object.keys(rest).length) query.set("z", await pack(rest));
  return query.toString();
}

export interface Link { scenario: Scenario | null; setup: Setup }

const number = (text: string | null): number | null => (text == null || text.trim() === "" || !Number.isFinite(Number(text)) ? null : Number(text));

/** Reads what follows `#`; null if there is nothing for this page. */
export async function readLink(hash: string): Promise<Link | null> {
  const query = new URLSearchParams(hash.replace(/^#/, ""));
  settings.embedded.value = query.has("embed");
  settings.big.value = query.has("big");
  if (query.get("mode") === "lesson" || query.has("lesson")) mode.value = "lesson";
  const rest: Rest = query.has("z") ? await unpack<Rest>(query.get("z")!) : {};
  const name = query.get("scenario");
  if (!name && !rest.scenario) return null;
  const found = rest.scenario ?? (await scenarios()).find((one) => one.name === name) ?? null;
  return {
    scenario: found,
    setup: {
      changes: rest.changes ?? [], acts: rest.acts ?? [], strategies: query.getAll("strategy"), seed: number(query.get("seed")), at: number(query.get("time")) ?? undefined,
      speed: number(query.get("speed")) ?? undefined, play: query.has("play"),
    },
  };
}

/** Number of the lesson that the address names; null without one. */
export const lessonInLink = (): number | null => number(new URLSearchParams(location.hash.replace(/^#/, "")).get("lesson"));
