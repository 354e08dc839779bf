// Width of an element, kept up to date.
import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { printing } from "./theme";

export function useWidth<T extends HTMLElement>(fallback: number) {
  const host = useRef<T>(null);
  const width = useSignal(fallback);
  useLayoutEffect(() => {
    const node = host.current!;
    const measure = () => { width.value = Math.max(220, node.clientWidth); };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(node);
    return () => observer.disconnect();
  }, []);
  return { host, width: printing.value ? Math.min(660, width.value) : width.value };
}
