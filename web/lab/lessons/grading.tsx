// The challenge with the page's state: its text, its settings, the check in the background.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { RefusedError } from "../client";
import { asRefusal } from "../playback/session";
import { play } from "../playback/driver";
import { catalog } from "../state";
import { Challenge } from "./challenge";
import type { Checking } from "./checks";
import { download } from "./copy";
import { type Entry, following, revealed, teacher } from "./course";
import { grade, stop } from "./measure";
import { note, progressOf } from "./progress";
import { href } from "./route";
import { allowedSettings, Settings } from "./settings";
import { asShipped, described, refusal, setKeys, setText, showChallenge, text } from "./stage";

/** How often the meter moves, in milliseconds. */
const TICK = 250;

/** Milliseconds that the last check of each lesson took: the next one takes about as long. */
const took = new Map<string, number>();

export function ChallengeStep({ of }: { of: Entry }) {
  const { lesson } = of;
  const checking = useSignal<Checking>({ state: "idle" });
  const asked = useRef(0);
  const progress = progressOf(lesson.name);
  const shipped = lesson.challenge.scenario;
  useEffect(() => { showChallenge(of); return () => { if (checking.peek().state === "running") stop(); }; }, [of]);
  // A grade is of one text; with another it is out of date.
  useEffect(() => {
    const now = checking.peek();
    if (now.state === "done" && !now.stale) checking.value = { ...now, stale: true };
  }, [text.value]);
  const check = async () => {
    const mine = ++asked.current;
    const started = performance.now();
    const solution = text.value;
    const expected = took.get(lesson.name);
    const show = () => {
      const passed = performance.now() - started;
      if (mine === asked.current) checking.value = { state: "running", share: expected == null ? null : Math.min(0.97, passed / expected), seconds: passed / 1000 };
    };
    const timer = setInterval(show, TICK);
    show();
    try {
      const result = await grade(of, solution);
      if (mine !== asked.current) return;
      // Nothing is simulated where a change is not allowed.
      if (result.checks.length) took.set(lesson.name, performance.now() - started);
      checking.value = { state: "done", grade: result, stale: solution !== text.value };
      if (result.passed) note(lesson.name, { solved: true, reached: 3 });
    } catch (error) {
      if (mine !== asked.current) return;
      if (error instanceof RefusedError) refusal.value = error.refusal;
      checking.value = error instanceof RefusedError ? { state: "idle" } : { state: "failed", message: asRefusal(error).message };
    } finally {
      clearInterval(timer);
    }
  };
  const cancel = () => {
    asked.current += 1;
    stop();
    checking.value = { state: "idle" };
  };
  const allowed = lesson.challenge.may_change;
  const found = described.value ? allowedSettings(described.value, catalog.value, allowed, text.value) : [];
  const before = new Map((asShipped.value ? allowedSettings(asShipped.value, catalog.value, allowed, shipped) : []).map(({ control }) => [control.key, control.value]));
  const next = following.value;
  return (
    <Challenge lesson={lesson} text={text.value} shipped={shipped} refusal={refusal.value} checking={checking.value} hints={progress.hints} solved={progress.solved}
      settings={found.length ? <Settings settings={found} shipped={before} set={(change) => void setKeys(of, [change])} /> : null} ready={described.value != null || refusal.value != null}
      answers={!teacher.value || revealed.value} next={next ? { href: href(next.lesson.number), lesson: next.lesson } : null}
      edit={(value) => setText(of, value, true)} check={() => void check()} cancel={cancel}
      hint={() => note(lesson.name, { hints: progress.hints + 1 })} reset={() => setText(of, shipped)} show={play}
      solve={() => { setText(of, shipped); void setKeys(of, lesson.solution.changes); }} download={() => download("my-solution.toml", text.value)} />
  );
}
