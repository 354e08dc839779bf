// Goes through all lessons of dist/lab.html in a browser, and looks into decisions.
//
//   node web/tests/lessons.mjs [--shots FOLDER] [--only 7] [--part pure|lessons|keyboard|looks|elsewhere|inspector]
//
// Checked: every lesson loads, asks for a guess first, plays, fills in its numbers, fails as shipped and passes with its solution; one
// lesson with the keyboard only; axe-core in light and dark; no overflow at 390, 900 and 1600 px; decisions in the inspector against
// the engine's events. Exit code 1 with a problem.
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { launch } from "./browser.mjs";
import { accessible, width } from "./checks.mjs";
import { bundle } from "./lab/bundle.mjs";
import { inspector } from "./lab/inspect.mjs";
import { challenge, explain, keyboard, predict, watch } from "./lab/play.mjs";

const option = (name) => { const at = process.argv.indexOf(`--${name}`); return at < 0 ? null : process.argv[at + 1]; };
const shots = option("shots") && resolve(option("shots"));
const parts = option("part") ? [option("part")] : ["pure", "lessons", "keyboard", "looks", "elsewhere", "inspector"];
const file = fileURLToPath(new URL("../dist/lab.html", import.meta.url));
const address = pathToFileURL(file).href;
/** Lessons at a time: each has a worker per lane. */
const AT_ONCE = 2;
const FEWEST = 12;

const started = Date.now();
const browser = await launch();
const all = [];
const report = (where, problems) => { for (const one of problems) { all.push(`${where}: ${one}`); console.error(`${where}: ${one}`); } };

/** A page with storage of its own; its errors are problems. */
async function visit(where, to, work) {
  const own = to.startsWith("#") ? `${address}${to}` : to;
  const context = await browser.newContext({ reducedMotion: "reduce", viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  page.setDefaultTimeout(20000);
  const problems = [];
  page.on("pageerror", (error) => problems.push(`error: ${error.message}`));
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) problems.push(`console: ${message.text()}`); });
  page.on("request", (request) => { if (request.url().split("#")[0] !== own.split("#")[0] && !/^(data|blob):/.test(request.url())) problems.push(`request: ${request.url()}`); });
  try {
    await page.goto(own);
    problems.push(...((await work(page)) ?? []));
  } catch (error) {
    problems.push(`the check stopped: ${error.message.split("\n").slice(0, 2).join(" ")}`);
    if (shots) await page.screenshot({ path: join(shots, `stopped-${where.replace(/\W+/g, "-")}.png`) }).catch(() => {});
  }
  await context.close();
  report(where, [...new Set(problems)]);
}

async function numbers() {
  let found = [];
  await visit("list", "#lessons", async (page) => {
    await page.waitForSelector(".lesson-card");
    found = await page.evaluate(() => [...document.querySelectorAll(".lesson-card a")].map((one) => Number(/lesson-(\d+)/.exec(one.hash)[1])));
    return found.length < FEWEST ? [`${found.length} lessons, fewer than ${FEWEST}`] : [];
  });
  return option("only") ? found.filter((one) => one === Number(option("only"))) : found;
}

async function wholeLesson(number) {
  await visit(`lesson ${number}`, `#lesson-${number}`, async (page) => {
    const guess = number % 2;
    const problems = [...(await predict(page, guess)), ...(await watch(page)), ...(await explain(page, guess)), ...(await challenge(page))];
    await page.goto(`${address}#lessons`);
    await page.waitForSelector(".lesson-card");
    const state = await page.locator(".lesson-card").nth(number - 1).innerText();
    if (!/solved/.test(state)) problems.push(`the list does not say that it is solved: ${state}`);
    return problems;
  });
}

/** Widths and schemes at each step. */
async function looks(number) {
  await visit(`looks of lesson ${number}`, "#lessons", async (page) => {
    const problems = [];
    const see = async (name) => {
      for (const scheme of ["light", "dark"]) problems.push(...(await accessible(page, scheme, scheme === "light")).map((one) => `${name}: ${one}`));
      for (const size of [900, 1600, 390]) {
        await page.emulateMedia({ colorScheme: size === 900 ? "dark" : "light" });
        await page.setViewportSize({ width: size, height: 800 });
        await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
        problems.push(...(await width(page)).map((one) => `${name}: ${one}`));
        if (shots) await page.screenshot({ path: join(shots, `${name}-${size}.png`), fullPage: true });
      }
      await page.setViewportSize({ width: 1280, height: 800 });
    };
    await page.waitForSelector(".lesson-card");
    await see("list");
    await page.goto(`${address}#lesson-${number}&teacher`);
    await page.waitForSelector(".predict");
    await see("predict-teacher");
    await predict(page, 1);
    await page.waitForSelector(".watch .tile");
    await page.locator(".watch .primary").click();
    await page.waitForTimeout(700);
    await page.locator(".watch .primary").click();
    await page.goto(`${address}#lesson-${number}/watch`);
    await page.waitForSelector(".watch .tile");
    if (!(await page.locator(".main-column canvas").count())) problems.push("leaving teacher mode hides the stage");
    await see("watch");
    await page.locator(".watch .step-actions button").nth(1).click();
    await page.waitForFunction(() => document.querySelector(".explain .measured") && [...document.querySelectorAll(".explain .measured")].every((one) => one.innerText !== "…"));
    await see("explain");
    await page.locator(".explain .step-actions .primary").click();
    await page.waitForSelector(".challenge");
    await page.waitForFunction(() => document.querySelector(".judge .primary:not(:disabled)"));
    await see("challenge");
    problems.push(...(await challenge(page)));
    await see("solved");
    return problems;
  });
  await visit("teacher mode", `#lesson-${number}&teacher`, async (page) => {
    const problems = [];
    await predict(page, 0);
    await page.goto(`${address}#lesson-${number}/explain&teacher`);
    await page.waitForSelector(".curtain");
    if (await page.locator(".result").count()) problems.push("the answer is not hidden");
    await page.keyboard.press("a");
    await page.waitForSelector(".result");
    await page.emulateMedia({ media: "print" });
    const printed = await page.evaluate(() => ({ sheets: [...document.querySelectorAll(".sheet")].filter((one) => one.offsetHeight > 200).length, page: document.getElementById("page").offsetHeight,
      answers: [...document.querySelectorAll(".sheet")].map((one) => one.querySelectorAll(".answer, .sheet-changes").length) }));
    if (printed.sheets !== 2 || printed.page) problems.push(`printed: ${printed.sheets} sheets, the page ${printed.page} px high`);
    if (printed.answers[0] || !printed.answers[1]) problems.push("the answers are not on the second sheet only");
    if (shots) await page.pdf({ path: join(shots, "sheets.pdf"), format: "A4", preferCSSPageSize: true });
    return problems;
  });
}

/** Inside another page, and where the browser keeps nothing. */
async function elsewhere(number) {
  await visit("embedded", `#lesson-${number}&embed`, async (page) => {
    await page.waitForSelector(".predict");
    return (await page.locator(".bar, .lesson .kicker").count()) ? ["the header is shown"] : [];
  });
  await visit("without storage", "#lessons", async (page) => {
    await page.addInitScript(() => Object.defineProperty(window, "localStorage", { get() { throw new Error("not allowed"); } }));
    await page.reload();
    await page.waitForSelector(".lesson-card");
    await page.locator(".lesson-card a").nth(number - 1).click();
    await predict(page, 0);
    await page.waitForSelector(".watch");
    await page.evaluate(() => { location.hash = "#lessons"; });
    await page.waitForSelector(".lesson-card");
    const state = await page.locator(".lesson-card").nth(number - 1).innerText();
    return /of 4 steps/.test(state) ? [] : [`the guess is forgotten: ${state}`];
  });
}

if (shots) mkdirSync(shots, { recursive: true });
if (parts.includes("pure")) {
  const page = await browser.newPage();
  await page.addScriptTag({ content: await bundle(fileURLToPath(new URL("lab/pure.ts", import.meta.url))) });
  report("pure", await page.evaluate(() => window.pureProblems ?? ["the checks did not run"]));
  await page.close();
}
const lessons = await numbers();
if (parts.includes("lessons")) {
  const queue = [...lessons];
  await Promise.all(Array.from({ length: AT_ONCE }, async () => { for (let number = queue.shift(); number != null; number = queue.shift()) await wholeLesson(number); }));
}
if (parts.includes("keyboard")) await visit("keyboard", `#lesson-${lessons[0] ?? 1}`, keyboard);
if (parts.includes("looks")) await looks(lessons[0] ?? 1);
if (parts.includes("elsewhere")) await elsewhere(lessons[0] ?? 1);
if (parts.includes("inspector")) await inspector(visit, shots);
await browser.close();
console.log(`${lessons.length} lessons in ${((Date.now() - started) / 1000).toFixed(1)} s; ${all.length ? `${all.length} problems` : "no problems"}`);
process.exit(all.length ? 1 : 0);
