// Builds the lab into one file: dist/lab.html. The engine, the scenarios and the lessons are in it, packed.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { defineConfig } from "vite";
import { viteSingleFile } from "vite-plugin-singlefile";
import { licences } from "./licences.mjs";
import { elements } from "./packed.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

function scenarios() {
  const folder = here("../scenarios");
  const all = {};
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".toml")).sort()) all[file.replace(/\.toml$/, "")] = readFileSync(`${folder}/${file}`, "utf8");
  const files = {};
  for (const source of Object.values(all)) {
    for (const [, name] of source.matchAll(/file = "([^"]+)"/g)) if (existsSync(`${folder}/${name}`)) files[name] = readFileSync(`${folder}/${name}`, "utf8");
  }
  return Buffer.from(JSON.stringify({ scenarios: all, files }));
}

/** Texts of the lessons by file name. */
function lessons() {
  const folder = here("../lessons");
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => /^\d\d-.*\.toml$/.test(name)).sort() : [];
  return Buffer.from(JSON.stringify(Object.fromEntries(names.map((name) => [name.replace(/\.toml$/, ""), readFileSync(`${folder}/${name}`, "utf8")]))));
}

const contents = {
  "lab-engine": () => gunzipSync(readFileSync(here("lab/engine/lab.wasm.gz"))),
  "lab-scenarios": scenarios,
  "lab-lessons": lessons,
};

/** `virtual:lab-engine` and the like export the id of the element that holds the contents. */
const packedContents = {
  name: "packed-contents",
  resolveId: (id) => (id.startsWith("virtual:lab-") ? `\0${id}` : null),
  load: (id) => (id.startsWith("\0virtual:") ? `export default ${JSON.stringify(id.slice("\0virtual:".length))};` : null),
};

const withContents = {
  name: "licences-and-contents",
  enforce: "post",
  async generateBundle(_options, bundle) {
    const page = bundle["lab.html"];
    const packed = await elements(Object.fromEntries(Object.entries(contents).map(([id, read]) => [id, read()])));
    page.source = String(page.source).replace(/\r\n/g, "\n").replace("<head>", () => `<head>\n<!--\nThis page contains the libraries below.\n\n${licences(["fzstd"]).replaceAll("--", "- -")}-->\n`).replace("</body>", () => `${packed}</body>`);
  },
};

export default defineConfig({
  root: here("lab"),
  plugins: [packedContents, viteSingleFile(), withContents],
  worker: { format: "iife" },
  build: {
    outDir: process.env.EVENKEEL_DIST ?? here("dist"),
    // The report is built into the same folder, before this page.
    emptyOutDir: false,
    target: "es2022",
    modulePreload: false,
    rolldownOptions: { input: here("lab/lab.html") },
  },
});
