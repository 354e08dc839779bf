// Writes a document into the built page, as the program does.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const template = readFileSync(new URL("../dist/report.html", import.meta.url), "utf8");

/** The page with the document in it, as the program writes it. */
export function page(report, { gz = false } = {}) {
  const json = JSON.stringify(report, (_, v) => (typeof v === "number" ? Number(v.toPrecision(7)) : v)).replaceAll("<", "\\u003c");
  const data = gz
    ? template.replace('<script type="application/json" id="evenkeel-data"><!--evenkeel:data--></script>', () => `<script type="text/plain" id="evenkeel-data-gz">${gzipSync(json, { level: 9 }).toString("base64")}</script>`)
    : template.replace("<!--evenkeel:data-->", () => json);
  return data.replace("<!--evenkeel:title-->", () => report.title.replaceAll("<", "&lt;")).replace("<!--evenkeel:noscript-->", "<p>Here the program puts static charts and a table.</p>");
}
