// Writes the sample documents as pages, with plain and with compressed data:
//
//   node web/tests/sample.mjs OUT
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { page } from "./page.mjs";

const out = process.argv[2];
if (!out) {
  console.error("usage: node web/tests/sample.mjs OUT");
  process.exit(2);
}
const samples = new URL("sample/", import.meta.url).pathname;
for (const name of readdirSync(samples)) {
  const folder = join(samples, name);
  const report = JSON.parse(readFileSync(join(folder, "document.json"), "utf8"));
  for (const gz of [false, true]) {
    const to = join(out, gz ? `${name}-compressed` : name);
    mkdirSync(to, { recursive: true });
    writeFileSync(join(to, "report.html"), page(report, { gz }));
    if (existsSync(join(folder, "metrics.csv"))) copyFileSync(join(folder, "metrics.csv"), join(to, "metrics.csv"));
  }
}
