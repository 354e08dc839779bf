// A dialog above the page; Escape closes it, the focus stays in it and goes back afterwards.
import type { ComponentChildren } from "preact";
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

export type Overlay = "help" | "gallery" | "share" | null;
export const overlay = signal<Overlay>(null);

export function Dialog({ title, wide, children }: { title: string; wide?: boolean; children: ComponentChildren }) {
  const node = useRef<HTMLDialogElement>(null);
  // The event of a dialog that is gone comes late: it must not close the next one.
  const own = useRef(overlay.value);
  const close = () => { if (overlay.value === own.current) overlay.value = null; };
  useEffect(() => {
    const dialog = node.current!;
    dialog.showModal();
    return () => dialog.close();
  }, []);
  return (
    <dialog ref={node} class={wide ? "overlay wide" : "overlay"} aria-label={title} onClose={close} onCancel={close}
      onClick={(event) => { if (event.target === node.current) close(); }}>
      <div class="overlay-in">
        <header><h2>{title}</h2><button type="button" class="quiet" onClick={close}>Close</button></header>
        {children}
      </div>
    </dialog>
  );
}
