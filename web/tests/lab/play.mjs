// Goes through a lesson as a reader does, and says what is wrong.

const LONG = 60000;

/** Text of the first element that matches, on one line. */
const textOf = async (page, selector) => (await page.locator(selector).first().innerText()).replace(/\s+/g, " ");

/** Nothing has run and nothing can run before a guess. */
export async function predict(page, option) {
  const problems = [];
  await page.waitForSelector(".predict");
  const before = await page.evaluate(() => ({ locked: document.querySelectorAll(".step-bar button:disabled").length, canvases: document.querySelectorAll("canvas").length, commit: document.querySelector(".predict [type=submit]").disabled }));
  if (before.locked !== 3) problems.push(`${before.locked} of 3 steps are locked before a guess`);
  if (before.canvases) problems.push("the stage is shown before a guess");
  if (!before.commit) problems.push("a guess can be committed before one is chosen");
  await page.locator(".option").nth(option).click();
  await page.locator(".predict [type=submit]").click();
  return problems;
}

/** The run plays, then is brought to its end. */
export async function watch(page) {
  const problems = [];
  await page.waitForSelector(".watch .tile", { timeout: LONG });
  if (!(await page.locator(".main-column canvas").count())) problems.push("the stage is not shown");
  const clock = async () => parseFloat(await textOf(page, ".watch-clock"));
  if ((await clock()) !== 0) problems.push("the run has begun by itself");
  await page.locator(".watch .primary").click();
  await page.waitForFunction(() => parseFloat(document.querySelector(".watch-clock")?.innerText ?? "0") > 0, null, { timeout: LONG });
  await page.locator(".watch .step-actions button").nth(1).click();
  return problems;
}

/** The guess stands beside the result, and all numbers are there. */
export async function explain(page, option) {
  const problems = [];
  await page.waitForSelector(".explain .result");
  await page.waitForFunction(() => [...document.querySelectorAll(".explain .measured")].every((one) => one.innerText !== "…"), null, { timeout: LONG });
  const found = await page.evaluate(() => ({ numbers: [...document.querySelectorAll(".explain .measured")].map((one) => one.innerText), braces: /\{[a-z0-9_.]+\[/.test(document.querySelector(".explain").innerText), tiles: document.querySelectorAll(".explain .tile-row").length, guess: document.querySelector(".result .option-letter").innerText }));
  if (!found.numbers.length) problems.push("the explanation has no measured number");
  if (found.numbers.some((text) => !/\d/.test(text))) problems.push(`numbers are missing: ${found.numbers.join(", ")}`);
  if (found.braces) problems.push("a place for a number is left in the text");
  if (!found.tiles) problems.push("no metrics beside the explanation");
  if (found.guess !== String.fromCharCode(65 + option)) problems.push(`the guess was ${String.fromCharCode(65 + option)}, shown is ${found.guess}`);
  await page.locator(".explain .step-actions .primary").click();
  return problems;
}

/** Presses Check and waits for the grade: `solved`, `open` or what went wrong. */
async function check(page) {
  await page.waitForFunction(() => document.querySelector(".judge .primary:not(:disabled)"), null, { timeout: LONG });
  await page.evaluate(() => document.querySelectorAll(".goal").forEach((one) => one.classList.add("before")));
  await page.locator(".judge .step-actions .primary").click();
  await page.waitForSelector(".meter", { state: "attached" }).catch(() => {});
  await page.waitForSelector(".meter", { state: "detached", timeout: LONG });
  return page.evaluate(() => ({ solved: !!document.querySelector(".solved-box"), error: document.querySelector(".judge .lesson-error")?.innerText ?? null,
    goals: [...document.querySelectorAll(".goal")].map((one) => `${one.classList.contains("holds") ? "holds" : one.classList.contains("fails") ? "fails" : "open"}: ${one.innerText.replace(/\s+/g, " ")}`) }));
}

/** Fails as shipped; with the solution it passes. */
export async function challenge(page) {
  const problems = [];
  await page.waitForSelector(".challenge");
  const shipped = await check(page);
  if (shipped.error) problems.push(`check: ${shipped.error}`);
  if (shipped.solved) problems.push("the challenge is solved as shipped");
  if (!shipped.goals.some((one) => one.startsWith("fails"))) problems.push(`as shipped nothing fails: ${shipped.goals.join("; ")}`);
  for (let n = 0; n < 12 && await page.locator(".hint-actions button").count(); n++) {
    const button = page.locator(".hint-actions button");
    const last = /solution/.test(await button.innerText());
    await button.click();
    if (last) break;
  }
  await page.waitForFunction(() => document.querySelector(".edit-bar > .quiet:last-child:not(:disabled)"), null, { timeout: LONG });
  const solved = await check(page);
  if (!solved.solved) problems.push(`the solution does not pass: ${solved.error ?? ""} ${solved.goals.join("; ")}`);
  return problems;
}

/** Tabs until an element that matches has the focus. */
async function tabTo(page, selector, key = "Tab") {
  for (let n = 0; n < 200; n++) {
    await page.keyboard.press(key);
    if (await page.evaluate((s) => document.activeElement?.matches(s), selector)) return;
  }
  throw new Error(`keyboard: Tab does not reach ${selector}`);
}

/** A whole lesson without a mouse; the focus follows the steps. */
export async function keyboard(page) {
  const problems = [];
  const focused = async (what, selector) => { if (!(await page.evaluate((s) => document.activeElement?.matches(s), selector))) problems.push(`keyboard: after ${what} the focus is not at ${selector}`); };
  await page.waitForSelector(".predict");
  await tabTo(page, ".option input");
  await page.keyboard.press("Space");
  await page.keyboard.press("ArrowDown");
  await tabTo(page, ".predict [type=submit]");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".watch .tile", { timeout: LONG });
  await focused("the guess", ".lesson h2");
  await tabTo(page, ".watch .primary");
  await page.keyboard.press("Enter");
  await tabTo(page, ".watch .step-actions button:nth-of-type(2)");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".explain .result");
  await focused("the run", ".lesson h2");
  await tabTo(page, ".explain .step-actions .primary");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".challenge");
  await focused("the explanation", ".lesson h2");
  await page.waitForFunction(() => document.querySelector(".judge .primary:not(:disabled)"), null, { timeout: LONG });
  for (let n = 0; n < 12; n++) {
    if (!(await page.evaluate(() => document.activeElement?.matches(".hint-actions button")))) await tabTo(page, ".hint-actions button");
    const last = await page.evaluate(() => /solution/.test(document.activeElement.innerText));
    await page.keyboard.press("Enter");
    await page.waitForTimeout(60);
    if (last) break;
  }
  await page.waitForFunction(() => document.querySelector(".edit-bar > .quiet:last-child:not(:disabled)"), null, { timeout: LONG });
  await tabTo(page, ".judge .step-actions .primary");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".solved-box", { timeout: LONG });
  await focused("the check", ".solved-box h3");
  await tabTo(page, ".solved-box a.primary");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".predict");
  await focused("the next lesson", ".lesson h1, .lesson h2");
  return problems;
}
