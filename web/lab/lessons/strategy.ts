// A variant's strategy in a challenge's text: its parameters as they are written, and the strategy with another one.
import type { Catalog, Control, Description } from "../engine";
import { permitted } from "./settings";

type Strategy = Catalog["strategies"][number];

/** What follows `strategy` in the `[[variants]]` of a label; null where the text has no such table. */
export function writtenStrategy(text: string, label: string): string | null {
  for (const [, block] of text.matchAll(/^\[\[variants\]\]\n([^]*?)(?=^\[\[|^\[(?!variants)|$(?![^]))/gm)) {
    if (new RegExp(`^name\\s*=\\s*"${label.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}"`, "m").test(block)) return /strategy\b([^]*)/.exec(block)?.[1] ?? "";
  }
  return null;
}

/** Parameters that are written, as TOML. */
export function writtenParameters(written: string, of: Strategy): Map<string, string> {
  const found = new Map<string, string>();
  for (const { name } of of.parameters) {
    const m = new RegExp(`(?:^|[\\s{,])${name}\\s*=\\s*("(?:[^"\\\\]|\\\\.)*"|[^,}\\n#]+)`).exec(written);
    if (m) found.set(name, m[1].trim());
  }
  return found;
}

/** A strategy as TOML: a name alone, or a table with its parameters. */
export function strategyToml(name: string, parameters: Map<string, string>): string {
  const pairs = [...parameters].map(([key, value]) => `${key} = ${value}`);
  return pairs.length ? `{ ${name} = { ${pairs.join(", ")} } }` : `"${name}"`;
}

/** A control that writes the whole strategy, under a key of its own. */
export interface StrategyControl { control: Control; change: (value: string | null) => { key: string; value: string } }

/** The choice of a variant's strategy, and its parameters, where they may be changed. */
export function strategyControls(description: Description, catalog: Catalog, allowed: string[], text: string): StrategyControl[] {
  return description.strategies.flatMap((variant) => {
    const written = writtenStrategy(text, variant.label);
    const about = catalog.strategies.find((one) => one.name === variant.name);
    if (written == null || !about) return [];
    const key = `variants.${variant.label}.strategy`;
    const parameters = writtenParameters(written, about);
    const found: StrategyControl[] = [];
    if (permitted(key, allowed)) {
      const options = catalog.strategies.map((one) => ({ label: one.name, value: `"${one.name}"` }));
      found.push({
        control: { key, group: "strategy", label: `strategy of ${variant.label}`, doc: about.idea, value: `"${about.name}"`, shape: { kind: "choice", options } },
        change: (value) => ({ key, value: value ?? `"${about.name}"` }),
      });
    }
    for (const one of about.parameters) {
      const path = `${key}.${about.name}.${one.name}`;
      if (!one.control || !permitted(path, allowed)) continue;
      found.push({
        control: { key: path, group: "strategy", label: `${one.name} of ${about.name}`, doc: one.doc, value: parameters.get(one.name) ?? one.default, shape: one.control },
        change: (value) => {
          const next = new Map(parameters);
          if (value == null) next.delete(one.name); else next.set(one.name, value);
          return { key, value: strategyToml(about.name, next) };
        },
      });
    }
    return found;
  });
}
