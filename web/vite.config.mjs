// Builds the report page into one file: dist/report.html, with all scripts and styles inside, and the licences of what is bundled.
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { viteSingleFile } from "vite-plugin-singlefile";
import { licences } from "./licences.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

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
    outDir: process.env.EVENKEEL_DIST ?? here("dist"),
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    rolldownOptions: { input: here("report/report.html") },
  },
});
