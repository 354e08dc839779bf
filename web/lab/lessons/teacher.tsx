// Teacher mode: what a teacher sees above a lesson.
import { CopyLine } from "./copy";

interface Props { title: string; /** Address of the lesson, to be put into another page. */ address: string; revealed: boolean; reveal: () => void; leave: () => void; print: () => void }

export const snippet = (address: string, title: string): string =>
  `<iframe src="${address.replaceAll("&", "&amp;").replaceAll('"', "&quot;")}" title="${title.replaceAll("&", "&amp;").replaceAll('"', "&quot;")}" width="100%" height="760" style="border:0" loading="lazy" allow="fullscreen"></iframe>`;

export function TeacherBar({ title, address, revealed, reveal, leave, print }: Props) {
  return (
    <div class="teacher-bar">
      <p class="teacher-name">Teacher mode <span class="soft">keys: <kbd>A</kbd> answers, <kbd>Page Up</kbd> <kbd>Page Down</kbd> steps</span></p>
      <div class="teacher-actions">
        <button type="button" class="quiet" aria-pressed={revealed} onClick={reveal}>{revealed ? "Hide the answers" : "Show the answers"}</button>
        <button type="button" class="quiet" onClick={print}>Print the sheets</button>
        <details class="embed">
          <summary>Embed</summary>
          <div class="embed-box">
            <p class="note">Puts this lesson into another page. It needs nothing but this file.</p>
            <CopyLine text={snippet(address, title)} label="Embed snippet" />
            <CopyLine text={address} label="Link" />
          </div>
        </details>
        <button type="button" class="quiet" onClick={leave}>Leave teacher mode</button>
      </div>
    </div>
  );
}
