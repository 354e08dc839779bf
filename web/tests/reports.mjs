// Opens every report.html and index.html below a folder in a browser and checks them.
//
//   node web/tests/reports.mjs FOLDER [--shots FOLDER] [--no-shots]
//
// Checked: no error, no request but the file itself, the numbers of metrics.csv, use by keyboard only, axe-core in light and dark, no
// overflow at 390, 900 and 1600 px. Screenshots at these widths go to web/tests/artefacts, or to --shots. Exit code 1 with a problem.
import { mkdirSync, readdirSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { launch } from "./browser.mjs";
import { accessible, content, keyboard, numbers, width } from "./checks.mjs";

const WIDTHS = [900, 1600, 390];
/** Low, because a page is painted again for each key. */
const HEIGHT = 600;
/** Tallest screenshot; the rest of a page is as the first part. */
const TALLEST = 5000;
/** Pages at a time. */
const AT_ONCE = 3;

const args = process.argv.slice(2);
const option = args.indexOf("--shots");
const shots = args.includes("--no-shots") ? null : resolve(option < 0 ? join(dirname(fileURLToPath(import.meta.url)), "artefacts") : args[option + 1]);
const folder = args[0] && resolve(args[0]);
if (!folder || args[0].startsWith("--")) {
  console.error("usage: node web/tests/reports.mjs FOLDER [--shots FOLDER] [--no-shots]");
  process.exit(2);
}

function find(path) {
  return readdirSync(path, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? find(join(path, entry.name)) : ["report.html", "index.html"].includes(entry.name) ? [join(path, entry.name)] : []).sort();
}

/** Problems of the file that a page shows now; listeners write to it. */
class Visit {
  constructor(page) {
    this.page = page;
    page.setDefaultTimeout(15000);
    page.on("pageerror", (error) => this.problems.push(`error: ${error.message}`));
    page.on("console", (message) => { if (["error", "warning"].includes(message.type())) this.problems.push(`console: ${message.text()}`); });
    page.on("request", (request) => { if (request.url() !== this.own && !/^(data|blob):/.test(request.url())) this.problems.push(`request: ${request.url()}`); });
  }

  async check(file) {
    const { page } = this;
    const problems = (this.problems = []);
    this.own = pathToFileURL(file).href;
    try {
      await page.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });
      await page.setViewportSize({ width: WIDTHS[0], height: HEIGHT });
      await page.goto(this.own);
      await page.waitForSelector("#page h1");
      problems.push(...(await numbers(page, file)), ...(await keyboard(page)), ...(await content(page)));
      const all = page.getByRole("button", { name: "All families" });
      if (await all.count()) await all.click();
      problems.push(...(await accessible(page, "light", true)), ...(await accessible(page, "dark", false)));
      for (const size of WIDTHS) await this.look(file, size);
    } catch (error) {
      problems.push(`the check stopped: ${error.message.split("\n")[0]}`);
    }
    return [...new Set(problems)];
  }

  /** Width and screenshot; dark at one of the widths, so that both modes can be seen. */
  async look(file, size) {
    const { page } = this;
    await page.emulateMedia({ colorScheme: size === 900 ? "dark" : "light" });
    await page.setViewportSize({ width: size, height: HEIGHT });
    await page.evaluate(() => { window.scrollTo(0, 0); document.activeElement?.blur(); return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))); });
    this.problems.push(...(await width(page)));
    if (!shots) return;
    const height = await page.evaluate(() => document.documentElement.scrollHeight);
    const name = relative(folder, file).replaceAll("/", "_").replace(/\.html$/, "");
    await page.screenshot({ path: join(shots, `${name}-${size}.jpg`), type: "jpeg", quality: 70, fullPage: true, clip: { x: 0, y: 0, width: size, height: Math.min(height, TALLEST) } });
  }
}

const files = find(folder);
if (!files.length) {
  console.error(`no report.html or index.html below ${folder}`);
  process.exit(1);
}
if (shots) mkdirSync(shots, { recursive: true });
const started = Date.now();
const browser = await launch();
const queue = [...files];
let failed = 0;
await Promise.all(Array.from({ length: AT_ONCE }, async () => {
  const visit = new Visit(await browser.newPage());
  for (let file = queue.shift(); file; file = queue.shift()) {
    const problems = await visit.check(file);
    if (problems.length) {
      failed += 1;
      console.error(`${relative(folder, file)}:\n${problems.slice(0, 12).map((p) => `  ${p}`).join("\n")}${problems.length > 12 ? `\n  and ${problems.length - 12} more` : ""}`);
    }
  }
}));
await browser.close();
const seconds = ((Date.now() - started) / 1000).toFixed(1);
console.log(`${files.length} pages in ${seconds} s; ${failed ? `${failed} with problems` : "no problems"}${shots ? `; screenshots in ${relative(process.cwd(), shots) || "."}` : ""}`);
process.exit(failed ? 1 : 0);
