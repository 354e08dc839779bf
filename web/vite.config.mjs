// Builds the report page into one file: dist/report.html, with all scripts and styles inside, and the licences of what is bundled.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { viteSingleFile } from "vite-plugin-singlefile";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** Name, version and licence text of each library in the page. */
function licences() {
  const names = ["preact", "@preact/signals", "@preact/signals-core", "uplot"];
  return names.map((name) => {
    const { version } = JSON.parse(readFileSync(here(`node_modules/${name}/package.json`), "utf8"));
    return `${name} ${version}\n\n${readFileSync(here(`node_modules/${name}/LICENSE`), "utf8").trim()}\n`;
  }).join("\n----\n\n");
}

/** Puts the licences into the page and beside it. */
const withLicences = {
  name: "licences",
  enforce: "post",
  generateBundle(_options, bundle) {
    const text = licences();
    const page = bundle["report.html"];
    const comment = `<!--\nThis page contains the libraries below.\n\n${text.replaceAll("--", "- -")}-->\n`;
    page.source = String(page.source).replace(/\r\n/g, "\n").replace("<head>", () => `<head>\n${comment}`);
    this.emitFile({ type: "asset", fileName: "LICENSES.txt", source: text });
  },
};

export default defineConfig({
  root: here("report"),
  plugins: [viteSingleFile(), withLicences],
  build: {
    outDir: here("dist"),
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    rolldownOptions: { input: here("report/report.html") },
  },
});
