// The lessons; shown in place of the question where `mode` is "lesson".
export function Lessons() {
  return null;
}
