// What a reader does with the lab. Each check returns a list of problems.
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Runs in the page before its scripts: notes when the first lane is there. */
export const clockwork = () => {
  const timer = setInterval(() => {
    if (!document.querySelector(".lane canvas")) return;
    window.firstPicture = performance.now();
    clearInterval(timer);
  }, 5);
};

const OWN = "title = \"Mine <b>\"\nquestion = \"Does it open?\"\nduration = \"5s\"\narrivals = { poisson = { load = \"50%\" } }\nservice = { exponential = { mean = \"10ms\" } }\n[[pools]]\nname = \"web\"\n[[pools.servers]]\nname = \"web\"\ncount = 3\n";

/** The page as `evenkeel lab FILE` writes it. */
export function withScenario(page) {
  const text = readFileSync(page, "utf8");
  if (text.split("<!--evenkeel:lab-->").length !== 2) throw new Error("the page has not exactly one placeholder");
  const data = JSON.stringify({ name: "mine", source: OWN, files: {}, lesson: null }).replaceAll("<", "\\u003c");
  const file = join(mkdtempSync(join(tmpdir(), "evenkeel-lab-")), "lab.html");
  writeFileSync(file, text.replace("<!--evenkeel:lab-->", () => `<script type="application/json" id="evenkeel-lab">${data}</script>`));
  return file;
}

export async function given(page) {
  const title = await page.textContent("h1");
  return title === "Mine <b>" ? [] : [`the page opens “${title}”`];
}

/** Lanes are there, with a first frame, and none is on its way. */
export async function ready(page) {
  await page.waitForSelector(".lane canvas", { timeout: 20000 });
  await page.waitForFunction(() => /\d/.test(document.querySelector(".time-now")?.textContent ?? "") && !/catching/.test(document.querySelector(".event-now")?.textContent ?? ""), null, { timeout: 20000 });
  await page.waitForTimeout(250);
}

export const time = (page) => page.evaluate(() => parseFloat(document.querySelector(".time-now b").textContent));
const playing = (page) => page.evaluate(() => document.querySelector(".round.play").getAttribute("aria-label") === "Pause");
const text = (page, selector) => page.evaluate((s) => document.querySelector(s)?.textContent ?? "", selector);
const want = (problems, ok, what) => { if (!ok) problems.push(what); };

/** Something is drawn in each lane, and not the same single colour. */
export async function drawn(page) {
  return page.evaluate(() => [...document.querySelectorAll(".lane canvas")].flatMap((canvas, i) => {
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
    const seen = new Set();
    for (let at = 0; at < data.length; at += 4) if (data[at + 3] > 200) seen.add((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]);
    return seen.size > 20 ? [] : [`lane ${i + 1} has ${seen.size} colours: nothing is drawn`];
  }));
}

/** The numbers of the table, by metric and lane. */
export const values = (page) => page.evaluate(() => Object.fromEntries([...document.querySelectorAll(".lab-numbers tr[data-metric]")].map((tr) => [tr.dataset.metric, [...tr.querySelectorAll("data")].map((d) => d.value)])));

/** Until the clock stands at the end of the run. */
export const over = (page) => page.waitForFunction(() => /the run is over/.test(document.querySelector(".time-now")?.textContent ?? ""), null, { timeout: 120000 });

/** Waits for what has been asked for. */
export const settled = async (page) => {
  await page.waitForTimeout(350);
  await page.waitForFunction(() => !/catching/.test(document.querySelector(".event-now")?.textContent ?? ""), null, { timeout: 60000 });
  await page.waitForTimeout(200);
};

export async function plays(page) {
  const problems = [];
  console.log(`    first picture after ${Math.round(await page.evaluate(() => window.firstPicture))} ms`);
  await page.waitForSelector(".round.play[aria-label=Pause]", { timeout: 15000 }).catch(() => problems.push("the first scenario does not play by itself"));
  const before = await time(page);
  await page.waitForTimeout(700);
  want(problems, (await time(page)) > before, "the clock stands still");
  problems.push(...(await drawn(page)));
  want(problems, /answers 99 %|no difference/.test(await text(page, "#difference")), `no sentence about the difference: “${await text(page, "#difference")}”`);
  await page.click(".round.play");
  const stopped = await time(page);
  await page.waitForTimeout(300);
  want(problems, (await time(page)) === stopped, "pause does not stop the clock");
  return problems;
}

export async function moves(page) {
  const problems = [];
  const before = await time(page);
  for (let n = 0; n < 12; n++) {
    await page.click("[aria-label='One event']");
    await page.waitForTimeout(40);
  }
  await settled(page);
  want(problems, (await text(page, ".event-now")).length > 5, "a single event is not told in words");
  want(problems, (await time(page)) >= before, "single events lead back");
  const scrub = async (share) => {
    const box = await page.locator(".scrub").boundingBox();
    await page.mouse.click(box.x + box.width * share, box.y + box.height / 2);
    await settled(page);
  };
  await scrub(0.6);
  want(problems, Math.abs((await time(page)) - 48) < 2, `scrubbing to 60 % of 80 s leads to ${await time(page)} s`);
  const there = JSON.stringify(await values(page));
  await scrub(0.3);
  want(problems, Math.abs((await time(page)) - 24) < 2, `scrubbing back to 30 % leads to ${await time(page)} s`);
  await scrub(0.6);
  want(problems, JSON.stringify(await values(page)) === there, "the same time has other numbers after scrubbing back and forward");
  await page.click("[aria-label='Back to the start']");
  await settled(page);
  want(problems, (await time(page)) === 0, "restart does not lead to 0");
  return problems;
}

async function tabTo(page, selector) {
  for (let n = 0; n < 200; n++) {
    await page.keyboard.press("Tab");
    if (await page.evaluate((s) => document.activeElement?.matches(s), selector)) return true;
  }
  throw new Error(`Tab does not reach ${selector}`);
}

export async function keyboard(page) {
  const problems = [];
  const press = async (key) => { await page.keyboard.press(key); await settled(page); };
  await page.keyboard.press("Space");
  want(problems, await playing(page), "space does not play");
  await page.keyboard.press("Space");
  want(problems, !(await playing(page)), "space does not pause");
  const before = await time(page);
  await press("ArrowRight");
  want(problems, (await time(page)) > before, "→ does not go forward");
  await press("Shift+ArrowRight");
  await press("ArrowLeft");
  await press(".");
  want(problems, (await text(page, ".event-now")).length > 5, "“.” does not make one event");
  const speed = await text(page, ".speed output");
  await page.keyboard.press("]");
  want(problems, (await text(page, ".speed output")) !== speed, "] does not change the speed");
  await press("r");
  want(problems, (await time(page)) === 0, "R does not restart");
  await page.keyboard.press("?");
  await page.waitForSelector("dialog[open] kbd", { timeout: 3000 }).catch(() => problems.push("? does not show the keys"));
  await page.keyboard.press("Escape");
  await page.waitForSelector("dialog", { state: "detached", timeout: 3000 }).catch(() => problems.push("Escape does not close the help"));
  await page.evaluate(() => document.activeElement?.blur());
  await tabTo(page, ".lane-picture");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  want(problems, /web-2/.test(await text(page, ".lane-server")), `↓ ↓ does not choose the second server: “${await text(page, ".lane-server")}”`);
  await page.keyboard.press("Enter");
  want(problems, await page.evaluate(() => document.querySelector("#tab-inspector").getAttribute("aria-selected") === "true"), "Enter does not open the inspector");
  await page.keyboard.press("Escape");
  await tabTo(page, "[role=tab]");
  await page.keyboard.press("ArrowLeft");
  want(problems, await page.evaluate(() => document.querySelector("#tab-faults").getAttribute("aria-selected") === "true"), "← does not change the tab");
  await tabTo(page, ".fault");
  await page.keyboard.press("Enter");
  await settled(page);
  want(problems, await page.locator(".act-log .undo").count() === 1, "Enter on a fault does nothing");
  return problems;
}

export async function acts(page) {
  const problems = [];
  await page.click("#tab-faults");
  await page.locator(".fault", { hasText: "slower" }).click();
  await settled(page);
  want(problems, await page.locator(".timeline .mark.own").count() === 1, "the fault is not on the timeline");
  await page.click(".round.play");
  await page.waitForTimeout(600);
  await page.click(".round.play");
  await page.click(".lane-picture canvas", { position: { x: 300, y: 40 } });
  want(problems, /slow/.test(await text(page, ".lane-server")), `the slow server is not called slow: “${await text(page, ".lane-server")}”`);
  await page.click("#tab-faults");
  await page.locator("#load-now").fill("1.5");
  await settled(page);
  want(problems, /load 1.5x/.test(await text(page, ".act-log")), "the moved load slider is not in the log");
  await page.locator(".fault", { hasText: "burst" }).click();
  await settled(page);
  want(problems, await page.locator(".act-log .undo").count() === 4, "a burst is not two changes of the load");
  const before = await time(page);
  await page.locator(".act-log .undo").last().click();
  await settled(page);
  want(problems, await page.locator(".act-log .undo").count() === 3 && Math.abs((await time(page)) - before) < 0.01, "an act cannot be removed, or the clock moves");
  return problems;
}

export async function settings(page) {
  const problems = [];
  const fields = page.locator(".settings fieldset .field-number input[type=range]");
  if ((await fields.count()) < 3) return [`only ${await fields.count()} settings have sliders`];
  const before = JSON.stringify(await values(page));
  const first = fields.first();
  await first.focus();
  await page.keyboard.press("ArrowRight");
  for (let n = 0; n < 60; n++) await page.keyboard.press("ArrowLeft");
  await settled(page);
  await page.waitForSelector(".changed-line", { timeout: 5000 }).catch(() => problems.push("a moved slider changes no setting"));
  await page.keyboard.press("Escape");
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("End");
  await over(page);
  want(problems, JSON.stringify(await values(page)) !== before, "a setting changes no number");
  await page.locator(".changed-line .link").click();
  await settled(page);
  want(problems, (await page.locator(".changed-line").count()) === 0, "changes cannot be taken back");
  return problems;
}

export async function strategies(page) {
  const problems = [];
  await page.selectOption(".add-lane select", "least_request");
  await settled(page);
  want(problems, (await page.locator(".lane").count()) === 3, "no lane is added");
  await page.selectOption(".lane:nth-child(1) .strategy", "maglev");
  await settled(page);
  want(problems, /maglev/.test(await page.locator(".lane").first().getAttribute("aria-label")), "the strategy does not change");
  await page.locator(".lane:nth-child(2) .icon").first().click();
  await page.locator(".lane:nth-child(2) .strategy-details input[type=number]").first().fill("4");
  await page.keyboard.press("Enter");
  await settled(page);
  want(problems, /p2c\(choices=4\)/.test(await page.locator(".lane").nth(1).getAttribute("aria-label")), `a parameter does not change: ${await page.locator(".lane").nth(1).getAttribute("aria-label")}`);
  await page.locator("[aria-label^='Remove the lane']").first().click();
  await settled(page);
  want(problems, (await page.locator(".lane").count()) === 2, "a lane cannot be removed");
  want(problems, (await page.locator(".lane-error").count()) === 0, `an error: ${await text(page, ".lane-error")}`);
  return problems;
}

export async function link(page, url) {
  const problems = [];
  await page.click("#tab-faults");
  await page.locator(".fault", { hasText: "crash" }).first().click();
  await settled(page);
  await page.keyboard.press("Shift+ArrowRight");
  await settled(page);
  const [there, before] = [await time(page), JSON.stringify(await values(page))];
  await page.keyboard.press("h");
  await page.waitForFunction(() => document.querySelector(".link-text")?.value.includes("#"));
  const address = await page.inputValue(".link-text");
  want(problems, address.startsWith(url), `the link leads elsewhere: ${address.slice(0, 80)}`);
  const other = await page.context().newPage();
  await other.goto(address);
  await ready(other);
  await settled(other);
  want(problems, Math.abs((await time(other)) - there) < 0.01, `the link leads to ${await time(other)} s, not to ${there} s`);
  want(problems, JSON.stringify(await values(other)) === before, "the link leads to other numbers");
  return problems;
}

export async function replications(page) {
  const problems = [];
  await page.click(".replications button");
  await page.waitForSelector(".replications .short li", { timeout: 120000 });
  want(problems, (await page.locator(".lab-numbers td small").count()) > 4, "there are no intervals in the table");
  return problems;
}

export async function own(page) {
  const problems = [];
  await page.keyboard.press("g");
  await page.waitForSelector(".gallery li");
  want(problems, (await page.locator(".gallery li").count()) > 40, "scenarios are missing");
  await page.click(".own summary");
  await page.fill(".own textarea", "title = 3\n");
  await page.locator(".own .command button").click();
  await page.waitForSelector(".overlay .refused", { timeout: 5000 }).catch(() => problems.push("a wrong scenario is not refused"));
  await page.fill(".own textarea", OWN);
  await page.locator(".own .command button").click();
  await page.waitForFunction(() => document.querySelector("h1")?.textContent === "Mine <b>", null, { timeout: 5000 }).catch(() => problems.push("a scenario of one's own does not open"));
  return problems;
}
