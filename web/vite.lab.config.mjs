// Builds the lab into one file: dist/lab.html. The engine and the scenarios are in it, as gzip in base64.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "fflate";
import { defineConfig } from "vite";
import { viteSingleFile } from "vite-plugin-singlefile";
import { licences } from "./licences.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** The same bytes with every version of Node, unlike its own zlib. */
const packed = (text) => Buffer.from(gzipSync(Buffer.from(text), { level: 9, mtime: 0 })).toString("base64");

function scenarios() {
  const folder = here("../scenarios");
  const all = {};
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".toml")).sort()) all[file.replace(/\.toml$/, "")] = readFileSync(`${folder}/${file}`, "utf8");
  const files = {};
  for (const source of Object.values(all)) {
    for (const [, name] of source.matchAll(/file = "([^"]+)"/g)) if (existsSync(`${folder}/${name}`)) files[name] = readFileSync(`${folder}/${name}`, "utf8");
  }
  return packed(JSON.stringify({ scenarios: all, files }));
}

/** Texts of the lessons by file name. */
function lessons() {
  const folder = here("../lessons");
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => /^\d\d-.*\.toml$/.test(name)).sort() : [];
  return packed(JSON.stringify(Object.fromEntries(names.map((name) => [name.replace(/\.toml$/, ""), readFileSync(`${folder}/${name}`, "utf8")]))));
}

const contents = {
  "virtual:lab-engine": () => readFileSync(here("lab/engine/lab.wasm.gz")).toString("base64"),
  "virtual:lab-scenarios": scenarios,
  "virtual:lab-lessons": lessons,
};

const packedContents = {
  name: "packed-contents",
  resolveId: (id) => (id in contents ? `\0${id}` : null),
  load: (id) => (id.startsWith("\0virtual:lab-") ? `export default ${JSON.stringify(contents[id.slice(1)]())};` : null),
};

const withLicences = {
  name: "licences",
  enforce: "post",
  generateBundle(_options, bundle) {
    const page = bundle["lab.html"];
    page.source = String(page.source).replace(/\r\n/g, "\n").replace("<head>", () => `<head>\n<!--\nThis page contains the libraries below.\n\n${licences().replaceAll("--", "- -")}-->\n`);
  },
};

export default defineConfig({
  root: here("lab"),
  plugins: [packedContents, viteSingleFile(), withLicences],
  worker: { format: "iife" },
  build: {
    outDir: here("dist"),
    // The report is built into the same folder, before this page.
    emptyOutDir: false,
    target: "es2022",
    modulePreload: false,
    rolldownOptions: { input: here("lab/lab.html") },
  },
});
