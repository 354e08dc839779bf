// A box that scrolls sideways and shows by a shadow that there is more.
import type { ComponentChildren } from "preact";
import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";

export function Scroll({ label, kind = "", children }: { label: string; kind?: string; children: ComponentChildren }) {
  const box = useRef<HTMLDivElement>(null);
  const more = useSignal(false);
  useLayoutEffect(() => {
    const node = box.current!;
    const look = () => { more.value = node.scrollWidth - node.scrollLeft - node.clientWidth > 4; };
    look();
    const observer = new ResizeObserver(look);
    observer.observe(node);
    observer.observe(node.firstElementChild!);
    node.addEventListener("scroll", look, { passive: true });
    return () => { observer.disconnect(); node.removeEventListener("scroll", look); };
  }, []);
  return (
    <div class={`scroll-frame ${kind}`} data-more={more.value ? "" : undefined}>
      <div class="scroll" ref={box} tabIndex={0} role="region" aria-label={label}>{children}</div>
    </div>
  );
}
