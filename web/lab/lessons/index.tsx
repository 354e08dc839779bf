// The lessons; shown in place of the question where `mode` is "lesson".
import { useEffect, useRef } from "preact/hooks";
import "./lessons.css";
import "./challenge.css";
import { settings } from "../state";
import { current, entries, entry, failure, loading, read, teacher } from "./course";
import { arrived } from "./focus";
import { LessonList } from "./list";
import { OpenLesson } from "./open";
import { href, leave } from "./route";

function List() {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => {
    settings.alone.value = true;
    arrived(host.current!.querySelector("h1"));
  }, []);
  return (
    <div ref={host}>
      <LessonList lessons={entries.value.map((one) => one.lesson)} hrefOf={(lesson) => href(lesson.number)} loading={loading.value} failure={failure.value} teacher={teacher.value} />
    </div>
  );
}

export function Lessons() {
  const of = entry.value;
  useEffect(() => {
    void read();
    return leave;
  }, []);
  return (
    <div class="lessons">
      {of && current.value ? <OpenLesson key={of.lesson.name} of={of} count={entries.value.length} /> : <List />}
    </div>
  );
}
