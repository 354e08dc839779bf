// The licences of what the pages contain.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** Name, version and licence text of each library in a page. */
export function licences(more = []) {
  const names = ["preact", "@preact/signals", "@preact/signals-core", "uplot", ...more];
  return names.map((name) => {
    const { version } = JSON.parse(readFileSync(here(`node_modules/${name}/package.json`), "utf8"));
    return `${name} ${version}\n\n${readFileSync(here(`node_modules/${name}/LICENSE`), "utf8").trim()}\n`;
  }).join("\n----\n\n");
}
