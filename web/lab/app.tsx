// The lab: the question, lanes with strategies, the clock, charts, and a panel to change things.
import { useEffect, useRef } from "preact/hooks";
import { Inspector } from "./inspector";
import { Lessons } from "./lessons";
import { drive } from "./playback/driver";
import { lanes, mode, selected } from "./state";

export function App() {
  const main = useRef<HTMLElement>(null);
  useEffect(() => drive(main.current!), []);
  const lane = lanes.value[selected.value?.lane ?? 0];
  return (
    <main id="main" ref={main} tabIndex={-1}>
      {mode.value === "lesson" && <Lessons />}
      {lane && <Inspector lane={lane} />}
    </main>
  );
}
