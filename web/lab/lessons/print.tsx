// Puts the sheets of teacher mode on paper.
import { render } from "preact";
import { useEffect } from "preact/hooks";
import type { Catalog } from "../engine";
import type { Entry } from "./course";
import { measure } from "./measure";
import type { Measured } from "./numbers";
import { Sheets } from "./sheet";

/** Keeps the sheets beside the page, where only paper shows them; their numbers are those of the lesson's own run. */
export function PrintSheets({ of, catalog }: { of: Entry; catalog: Catalog | null }) {
  useEffect(() => {
    const host = document.body.appendChild(document.createElement("div"));
    host.id = "sheets";
    let here = true;
    const draw = (measured: Map<string, Measured> | null) => { if (here) render(<Sheets lesson={of.lesson} catalog={catalog} measured={measured} />, host); };
    draw(null);
    measure(of, []).then(draw, () => {});
    document.documentElement.classList.add("printing-sheets");
    return () => {
      here = false;
      document.documentElement.classList.remove("printing-sheets");
      render(null, host);
      host.remove();
    };
  }, [of, catalog]);
  return null;
}
