// The challenge's text to edit: with line numbers, marks for what is changed, and the place of an error.
import { useEffect, useId, useMemo, useRef } from "preact/hooks";
import type { Refusal } from "../engine";
import { Inline } from "../../shared/inline";
import { changedLines } from "./diff";

interface Props { text: string; shipped: string; edit: (text: string) => void; refusal: Refusal | null; label: string }

export function Editor({ text, shipped, edit, refusal, label }: Props) {
  const area = useRef<HTMLTextAreaElement>(null);
  const gutter = useRef<HTMLDivElement>(null);
  const error = useId();
  const changed = useMemo(() => changedLines(shipped, text), [shipped, text]);
  const line = refusal?.line ?? null;
  // Written only if it differs: else the cursor would jump.
  useEffect(() => { if (area.current && area.current.value !== text) area.current.value = text; }, [text]);
  const scroll = () => { gutter.current!.scrollTop = area.current!.scrollTop; };
  return (
    <div class="editor-box">
      <div class={refusal ? "editor refused" : "editor"}>
        <div class="gutter" ref={gutter} aria-hidden="true">
          {changed.map((one, i) => <div key={i} class={`${one ? "changed" : ""} ${line === i + 1 ? "wrong" : ""}`}>{i + 1}</div>)}
        </div>
        <textarea ref={area} aria-label={label} aria-invalid={refusal ? true : undefined} aria-describedby={error} spellcheck={false} autocomplete="off" autocapitalize="off" wrap="off"
          rows={Math.min(26, changed.length + 1)} defaultValue={text} onScroll={scroll} onInput={(event) => edit(event.currentTarget.value)} />
      </div>
      <p class={refusal ? "lesson-error" : "note"} id={error} role="status">
        {refusal
          ? <>{line != null && <b>Line {line}: </b>}<Inline text={refusal.message} />{refusal.help && <> <Inline text={refusal.help} /></>}</>
          : changed.some(Boolean) ? `${changed.filter(Boolean).length} ${changed.filter(Boolean).length === 1 ? "line is" : "lines are"} changed.` : "As shipped."}
      </p>
    </div>
  );
}
