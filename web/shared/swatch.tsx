// A piece of a strategy's line with its marker.
import { DASHES, hex, markerPath, type Style } from "./palette";
import { dark } from "./theme";

export function Swatch({ style, off }: { style: Style; off?: boolean }) {
  const colour = hex(style, dark.value);
  return (
    <svg class={off ? "swatch off" : "swatch"} width="28" height="12" viewBox="0 0 28 12" aria-hidden="true">
      <line x1="1" x2="27" y1="6" y2="6" stroke={colour} stroke-width="2" stroke-dasharray={DASHES[style.dash].map((d) => d * 0.7).join(" ")} />
      <path d={markerPath(style.shape, 14, 6, 4)} fill={colour} />
    </svg>
  );
}
