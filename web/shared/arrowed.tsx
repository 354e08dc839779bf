// A heading with the arrow of the sort order on the side away from the column's edge.

export type SortState = "ascending" | "descending" | "none";

export function Arrowed({ text, state, left }: { text: string; state: SortState; left: boolean }) {
  const arrow = <span class="arrow" aria-hidden="true">{state === "none" ? "" : state === "ascending" ? "↑" : "↓"}</span>;
  return left ? <>{text}{arrow}</> : <>{arrow}{text}</>;
}
