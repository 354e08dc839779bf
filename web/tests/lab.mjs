// Opens the built lab from disk in Chromium and uses it as a reader does.
//
//   node web/tests/lab.mjs [--native PATH-OF-EVENKEEL] [--shots FOLDER] [--long] [--only PART-OF-A-NAME]
//
// Checked: no error and no request but the file itself; play, pause, one event, scrub, restart; everything by keyboard only; faults, a
// moved load slider, changed settings; a link leads to the same numbers; the numbers are those of `evenkeel run`; memory does not grow
// (--long: during a minute); resizing; axe-core in light and dark. Frame times are measured and printed. Exit code 1 with a problem.
import { mkdirSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { resolve } from "node:path";
import { launch } from "./browser.mjs";
import { accessible, width } from "./checks.mjs";
import * as pages from "./lab/page.mjs";
import * as numbers from "./lab/native.mjs";
import * as frames from "./lab/frames.mjs";

const args = process.argv.slice(2);
const option = (name) => (args.includes(name) ? args[args.indexOf(name) + 1] : null);
const [native, shots, only] = [option("--native"), option("--shots"), option("--only")];
const url = pathToFileURL(resolve(import.meta.dirname, "../dist/lab.html")).href;

const browser = await launch();
let failed = 0;

/** A page of its own, whose errors and requests are problems. */
async function check(name, hash, work, size = { width: 1280, height: 900 }, file = null) {
  const from = file ? pathToFileURL(file).href : url;
  if (only && !name.includes(only)) return;
  const started = Date.now();
  const problems = [];
  const context = await browser.newContext({ viewport: size, acceptDownloads: true });
  await context.grantPermissions(["clipboard-read", "clipboard-write"]).catch(() => {});
  const page = await context.newPage();
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) problems.push(`console: ${message.text()}`); });
  page.on("pageerror", (error) => problems.push(`error: ${error.message}`));
  page.on("request", (request) => { if (!/^(file|blob|data):/.test(request.url()) || (request.url().startsWith("file:") && !request.url().startsWith(from))) problems.push(`request: ${request.url()}`); });
  try {
    await page.addInitScript(pages.clockwork);
    await page.goto(from + hash);
    await pages.ready(page);
    problems.push(...((await work(page)) ?? []));
  } catch (error) {
    problems.push(`the check stopped: ${error.message.split("\n")[0]}`);
  }
  await context.close();
  if (problems.length) failed += 1;
  console.log(`${problems.length ? "FAILED" : "ok"}  ${name} (${((Date.now() - started) / 1000).toFixed(1)} s)${problems.map((text) => `\n  ${text}`).join("")}`);
}

const SMALL = "#scenario=crash&strategy=round_robin&strategy=p2c&time=10&speed=0.1";

await check("loads, plays and pauses", "", pages.plays);
await check("one event, scrub, restart", SMALL, pages.moves);
await check("keyboard only", SMALL, pages.keyboard);
await check("fault, load slider, burst", SMALL, pages.acts);
await check("settings", "#scenario=even-load&strategy=random&strategy=p2c&time=5&speed=1", pages.settings);
await check("strategies and lanes", SMALL, pages.strategies);
await check("link leads to the same numbers", SMALL, (page) => pages.link(page, url));
await check("replications", "#scenario=crash&strategy=random&strategy=p2c&time=1&speed=1", pages.replications);
await check("a scenario of one's own, and one that cannot be read", SMALL, pages.own);
for (const scheme of ["light", "dark"]) {
  await check(`axe-core, ${scheme}`, SMALL, async (page) => {
    const problems = await accessible(page, scheme, scheme === "light");
    for (const tab of ["faults", "inspector"]) {
      await page.click(`#tab-${tab}`);
      problems.push(...(await accessible(page, scheme, false)));
    }
    for (const key of ["?", "g", "h"]) {
      await page.keyboard.press(key);
      await page.waitForSelector("dialog[open]");
      problems.push(...(await accessible(page, scheme, scheme === "light")));
      await page.keyboard.press("Escape");
      await page.waitForSelector("dialog", { state: "detached" });
    }
    return problems;
  });
}
await check("window sizes", SMALL, async (page) => {
  const problems = [];
  if (shots) mkdirSync(shots, { recursive: true });
  for (const size of [1600, 900, 390]) {
    await page.setViewportSize({ width: size, height: 844 });
    await page.emulateMedia({ colorScheme: size === 900 ? "dark" : "light" });
    await page.waitForTimeout(300);
    problems.push(...(await width(page)), ...(await pages.drawn(page)));
    if (shots) await page.screenshot({ path: `${shots}/lab-${size}.png`, fullPage: true });
  }
  return problems;
});
await check("opened by the program with a scenario", "", pages.given, undefined, pages.withScenario(resolve(import.meta.dirname, "../dist/lab.html")));
await check("many servers", "#scenario=subsets&strategy=random&time=2&speed=0.01&play=1", async (page) => { await page.waitForTimeout(800); return pages.drawn(page); });
if (native) for (const [name, hash, file] of numbers.CASES) await check(`numbers of the command line: ${name}`, hash, (page) => numbers.equal(page, native, file));
if (native) await check("numbers of the command line: faults and a moved slider", SMALL, (page) => numbers.session(page, native));
await check(args.includes("--long") ? "memory during a minute" : "memory during ten seconds", "#scenario=even-load&strategy=random&strategy=p2c&time=20&speed=0.3&play=1", (page) => frames.memory(page, args.includes("--long") ? 60 : 10));
await check("frame times, 4 lanes of 16 servers", `#${frames.address()}`, frames.measured, { width: 1600, height: 950 });

await browser.close();
console.log(failed ? `${failed} checks failed` : "no problems");
process.exit(failed ? 1 : 0);
