// The inspector against the engine: the server that it shows as picked is that of the engine's event.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { load } from "../engine-module.mjs";
import { accessible, width } from "../checks.mjs";

const PICKED = 1;
const EVENT_VALUES = 6;
/** Decisions that are stepped through. */
const STEPS = 5;

/** What each strategy's decision must be drawn with. */
const CASES = [
  { strategy: "p2c", drawn: ".duel-card.picked", looks: true },
  { strategy: "consistent_hash", drawn: "path.arc", moves: true, looks: true },
  { strategy: "maglev", drawn: ".grid-host canvas", moves: true },
  { strategy: "round_robin", drawn: ".key-strip .cell-picked" },
  { strategy: "random", drawn: ".placement, .why > .note" },
  { strategy: "peak_ewma", drawn: "tr.picked .bar-track" },
];

const scenario = (strategy) => `title = "Inspector"
question = "Why this server?"
duration = "20s"
strategies = ["${strategy}"]
arrivals = { poisson = { load = "80%" } }
service = { exponential = { mean = "50ms" } }
keys = { count = 400, exponent = 0.4 }

[[pools]]
name = "web"

[[pools.servers]]
name = "web"
count = 8
`;

/** Picks of the engine itself: server and time of the first ones. */
function wanted(engine, source, strategy) {
  const { pools } = engine.call({ op: "describe", name: "inspector", source, files: {} });
  const handle = engine.open({ name: "inspector", source, files: {}, strategy, seed: null, replication: 0, acts: [], warmup: null });
  engine.trace(handle, true);
  const picks = [];
  while (picks.length < STEPS) {
    engine.step(handle);
    const events = engine.events(handle);
    for (let i = 0; i < events.length; i += EVENT_VALUES) if (events[i] === PICKED) picks.push({ server: pools[0].servers[events[i + 3]].name, time: events[i + 1] });
  }
  engine.close(handle);
  return picks;
}

/** The page with a scenario in it, as `evenkeel lab FILE` writes it. */
function given(folder, source, strategy) {
  const template = readFileSync(fileURLToPath(new URL("../../dist/lab.html", import.meta.url)), "utf8");
  const json = JSON.stringify({ name: "inspector", source, files: {}, lesson: null }).replaceAll("<", "\\u003c");
  const file = join(folder, `${strategy}.html`);
  writeFileSync(file, template.replace("<!--evenkeel:lab-->", () => `<script type="application/json" id="evenkeel-lab">${json}</script>`));
  return pathToFileURL(file).href;
}

async function decision(page) {
  return page.evaluate(() => ({
    picked: document.querySelector(".decision tr.picked .server-id")?.innerText.trim().split(/\s+/).pop() ?? null,
    time: [...document.querySelectorAll(".why-facts > div")].find((one) => one.firstChild.innerText === "time")?.lastChild.innerText,
    sentence: document.querySelector(".why-sentence")?.innerText ?? "",
  }));
}

async function one(page, of, picks, shots) {
  const problems = [];
  await page.waitForSelector(".panel-side");
  await page.keyboard.press("i");
  await page.waitForSelector(".inspector .primary");
  // The page opens in the middle of a run, and may play: back to the beginning.
  await page.waitForFunction(() => parseFloat(document.querySelector(".time-now b")?.innerText ?? "0") > 1);
  const playing = page.locator(".inspector-bar button[aria-pressed=true]");
  if (await playing.count()) await playing.click();
  await page.keyboard.press("r");
  await page.waitForSelector(".inspector-empty");
  for (let n = 0; n < STEPS; n++) {
    const before = await page.locator(".why-facts").innerText().catch(() => "");
    await page.locator(".inspector .primary").click();
    await page.waitForFunction((old) => (document.querySelector(".why-facts")?.innerText ?? "") !== old, before);
    const shown = await decision(page);
    if (shown.picked !== picks[n].server) problems.push(`decision ${n + 1}: shows ${shown.picked}, the event has ${picks[n].server}`);
    if (Math.abs(parseFloat(shown.time) - picks[n].time) > 0.006) problems.push(`decision ${n + 1}: at ${shown.time}, the event at ${picks[n].time.toFixed(4)} s`);
    if (shown.sentence.length < 15) problems.push(`decision ${n + 1} has no sentence`);
  }
  if (!(await page.locator(of.drawn).count())) problems.push(`nothing is drawn (${of.drawn})`);
  await page.locator(".inspector-bar .quiet").nth(1).click();
  if ((await decision(page)).picked !== picks[STEPS - 2].server) problems.push("the decision before is another one");
  if (of.moves) {
    await page.locator(".share-name").nth(2).click();
    await page.waitForFunction(() => /leaves: .* must move/.test(document.querySelector(".shares .note").innerText)).catch(() => problems.push("what moves is not shown"));
    const parts = await page.evaluate(() => [...document.querySelectorAll(".share-value")].map((one) => parseFloat(one.innerText)));
    const sum = parts.reduce((a, b) => a + b, 0);
    if (Math.abs(sum - 100) > 2) problems.push(`shares of the keys sum to ${sum} %`);
  }
  if (of.looks) for (const scheme of ["light", "dark"]) problems.push(...(await accessible(page, scheme, scheme === "light")));
  for (const size of of.looks || shots ? [390, 900, 1600] : [390]) {
    await page.setViewportSize({ width: size, height: 800 });
    await page.emulateMedia({ colorScheme: size === 900 ? "dark" : "light" });
    await page.waitForTimeout(80);
    problems.push(...(await width(page)));
    if (shots) await page.screenshot({ path: join(shots, `inspector-${of.strategy}-${size}.png`), fullPage: true });
  }
  const lost = await page.evaluate(() => [...document.querySelectorAll(".why [fill^='url(#']")].filter((one) => !document.getElementById(one.getAttribute("fill").slice(5, -1))).length);
  if (lost) problems.push(`${lost} shapes have a pattern that is not there`);
  return problems;
}

export async function inspector(visit, shots) {
  const engine = load(fileURLToPath(new URL("../../lab/engine/lab.wasm.gz", import.meta.url)));
  const folder = mkdtempSync(join(tmpdir(), "evenkeel-inspector-"));
  const queue = [...CASES];
  const work = async (of) => {
    const source = scenario(of.strategy);
    const picks = wanted(engine, source, of.strategy);
    await visit(`inspector, ${of.strategy}`, given(folder, source, of.strategy), (page) => one(page, of, picks, shots));
  };
  await Promise.all([1, 2].map(async () => { for (let of = queue.shift(); of; of = queue.shift()) await work(of); }));
  rmSync(folder, { recursive: true });
}
