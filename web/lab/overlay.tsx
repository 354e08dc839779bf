// A dialog above the page; Escape closes it, the focus stays in it and goes back afterwards.
import type { ComponentChildren } from "preact";
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

export type Overlay = "help" | "gallery" | "share" | null;
export const overlay = signal<Overlay>(null);

export function Dialog({ title, wide, children }: { title: string; wide?: boolean; children: ComponentChildren }) {
  const node = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = node.current!;
    dialog.showModal();
    return () => dialog.close();
  }, []);
  return (
    <dialog ref={node} class={wide ? "overlay wide" : "overlay"} aria-label={title} onClose={() => { overlay.value = null; }} onCancel={() => { overlay.value = null; }}
      onClick={(event) => { if (event.target === node.current) overlay.value = null; }}>
      <div class="overlay-in">
        <header><h2>{title}</h2><button type="button" class="quiet" onClick={() => { overlay.value = null; }}>Close</button></header>
        {children}
      </div>
    </dialog>
  );
}
