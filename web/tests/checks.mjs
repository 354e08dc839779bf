// What must hold of a report in a browser. Each check returns a list of problems.
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { rows } from "./csv.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Size of what a text says: "56.1 ms" is 0.0561. */
function said(text) {
  const m = /^(<?)(−?-?[\d.]+(?:e[-+]\d+)?)\s*(ns|µs|ms|s|%|\/s)?$/.exec(text.trim());
  if (!m) return null;
  const scale = { ns: 1e-9, "µs": 1e-6, ms: 1e-3, s: 1, "%": 0.01, "/s": 1, undefined: 1 }[m[3]];
  return { below: m[1] === "<", value: Number(m[2].replace("−", "-")) * scale };
}

/** The text of a cell is the value to three digits. */
function agrees(text, value) {
  const shown = said(text);
  if (!shown) return false;
  if (shown.below) return value > 0 && value <= shown.value;
  // An index has three decimals, a small number four, a percentage two.
  return Math.abs(shown.value - value) <= Math.max(0.006 * Math.abs(value), /^[\d.]+$/.test(text) ? 0.00051 : 0, text.endsWith("%") ? 0.000051 : 0);
}

/** Numbers in the table against metrics.csv beside the report, in each scope. */
export async function numbers(page, file) {
  const path = join(dirname(file), "metrics.csv");
  const table = page.locator("#table .results-table, #sweep .results-table");
  if (!existsSync(path) || (await table.count()) === 0) return [];
  const data = rows(path);
  const points = [...new Set(data.map((r) => r.point))];
  const known = new Map(data.map((r) => [`${r.point}\n${r.strategy}\n${r.metric}`, Number(r.value)]));
  const problems = [];
  let compared = 0;
  const read = async () => {
    const shown = await table.evaluate((node) => [...node.querySelectorAll("data[data-metric]")].map((d) => ({
      strategy: d.closest("tr").dataset.strategy, metric: d.dataset.metric, column: d.closest("td").cellIndex - 1, point: d.dataset.point ?? null, raw: Number(d.value), text: d.textContent })));
    for (const one of shown) {
      const point = one.point == null ? points[0] : (points.includes(one.point) ? one.point : points[one.column]);
      const value = known.get(`${point}\n${one.strategy}\n${one.metric}`);
      const where = `${one.strategy}, ${one.metric}${one.point ? ` at ${one.point}` : ""}`;
      if (value === undefined) problems.push(`${where}: shown as ${one.text}, not in metrics.csv`);
      else if (Math.abs(one.raw - value) > 1e-3 * Math.abs(value) || !agrees(one.text, value)) problems.push(`${where}: shown as ${one.text} (${one.raw}), metrics.csv has ${value}`);
      else compared += 1;
    }
  };
  // All strategies, also those that share a row.
  const same = page.getByText("One row for strategies with the same picks");
  if (await same.count()) await same.click();
  const scopes = page.locator('#table [aria-label="Requests"] button');
  const count = await scopes.count();
  if (count === 0) await read();
  for (let i = 0; i < count; i++) {
    await scopes.nth(i).click();
    await read();
  }
  if (await same.count()) await same.click();
  if (count) await scopes.first().click();
  const strategies = new Set(data.map((r) => r.strategy)).size;
  if (compared < strategies) problems.push(`only ${compared} numbers of ${strategies} strategies could be compared with metrics.csv`);
  return problems;
}

/** Presses Tab (or Shift+Tab) until an element that matches has the focus. */
async function tabTo(page, selector, what, key = "Tab") {
  for (let n = 0; n < 600; n++) {
    await page.keyboard.press(key);
    const state = await page.evaluate((s) => (document.activeElement?.matches(s) ? "here" : document.activeElement === document.body ? "end" : ""), selector);
    if (state === "here") return true;
  }
  throw new Error(`keyboard: Tab does not reach ${what} (${selector})`);
}

/** Sorts, chooses a baseline, toggles a curve, reads a chart and opens the source with the keyboard only. */
export async function keyboard(page) {
  const problems = [];
  const has = (selector) => page.evaluate((s) => !!document.querySelector(s), selector);
  const want = async (what, condition, arg) => {
    if (!(await page.evaluate(condition, arg))) problems.push(`keyboard: ${what}`);
  };
  // From the first element that takes the focus.
  await page.evaluate(() => { window.scrollTo(0, 0); document.querySelector(".skip").focus(); });
  try {
    if (await has("#table .chips")) {
      await tabTo(page, "#table .chip[aria-pressed=false]", "the filter by family");
      await page.keyboard.press("Enter");
      await want("the filter hides nothing", () => document.activeElement.getAttribute("aria-pressed") === "true"
        && document.querySelectorAll("#table tbody tr").length < JSON.parse(document.getElementById("evenkeel-data")?.textContent || "null")?.run.strategies.length || !document.getElementById("evenkeel-data"));
    }
    if (await has("#table data")) {
      // The first column of numbers.
      await tabTo(page, "#table thead th.num button", "a heading to sort by");
      await page.keyboard.press("Enter");
      await page.keyboard.press("Enter");
      await want("the table is not sorted in descending order", () => {
        const th = document.activeElement.closest("th");
        const values = [...document.querySelectorAll("#table tbody tr")].map((tr) => tr.cells[th.cellIndex].querySelector("data")).filter(Boolean).map((d) => Number(d.value));
        return th.getAttribute("aria-sort") === "descending" && values.every((v, i) => i === 0 || v <= values[i - 1]);
      });
      await page.keyboard.press("Enter");
      if (await page.evaluate(() => document.querySelectorAll("#table tbody tr").length > 1)) {
        await tabTo(page, "#table .name", "a strategy's name");
        await page.keyboard.press("Enter");
        await want("no baseline is chosen", () => document.activeElement.getAttribute("aria-pressed") === "true" && document.querySelectorAll("#table .rel .unseen").length > 0);
        await page.keyboard.press("Enter");
        await want("the baseline is not left", () => document.querySelectorAll("#table .rel").length === 0);
      }
    }
    if (await has("#sections thead button")) {
      await tabTo(page, "#sections thead button", "a heading to sort by");
      await page.keyboard.press("Enter");
      await want("the section's table is not sorted", () => document.activeElement.closest("th").getAttribute("aria-sort") === "ascending");
    }
    if (await has(".legend-item")) {
      const curves = () => page.evaluate(() => document.querySelectorAll("#charts .rows-svg .row, #sweep .results-table .mark[aria-pressed=true]").length);
      const before = await curves();
      await tabTo(page, ".legend-item", "the legend");
      await page.keyboard.press("Space");
      await want("the legend's button is not released", () => document.activeElement.getAttribute("aria-pressed") === "false");
      if (before && (await curves()) >= before) problems.push("keyboard: the curve is not hidden");
      await page.keyboard.press("Space");
      if (await has(".chart")) {
        await tabTo(page, ".chart", "a chart");
        await page.keyboard.press("ArrowRight");
        await page.keyboard.press("ArrowRight");
        await want("arrow keys do not read a chart", () => document.activeElement.querySelector(".tip")?.textContent.length > 3);
      }
    }
    if (await has("#sweep thead button")) {
      await tabTo(page, "#sweep thead button", "a heading to sort by");
      await page.keyboard.press("Enter");
      await want("the table of points is not sorted", () => document.activeElement.closest("th").getAttribute("aria-sort") === "ascending");
    }
    if (await has("#repeat .source")) {
      await page.evaluate(() => document.querySelector("#repeat .source").closest("details").querySelector("summary").dataset.test = "source");
      // From the end of the page backwards: the way is shorter.
      await page.evaluate(() => { const end = document.querySelector(".foot"); end.tabIndex = -1; end.focus(); });
      await tabTo(page, "summary[data-test=source]", "the scenario's source", "Shift+Tab");
      await page.keyboard.press("Enter");
      await want("the source does not open", () => document.activeElement.closest("details").open && document.querySelector("#repeat .source").offsetHeight > 20);
      await page.keyboard.press("Enter");
    }
  } catch (error) {
    problems.push(error.message);
  }
  return problems;
}

/** Rules of WCAG A and AA; in the second mode only what depends on colours. Of a long table the first and the last rows: the others are like them. */
export async function accessible(page, scheme, everything) {
  await page.emulateMedia({ colorScheme: scheme });
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(axe);
  const violations = await page.evaluate((all) => window.axe.run({ include: ["html"], exclude: [".results-table tbody tr:nth-child(n+6):not(:nth-last-child(-n+5))"] }, {
    runOnly: all ? { type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] } : { type: "rule", values: ["color-contrast"] },
    resultTypes: ["violations"], elementRef: false, preload: false,
  }).then((r) => r.violations.map((v) => ({ id: v.id, help: v.help, count: v.nodes.length, first: v.nodes[0].html.slice(0, 160), why: v.nodes[0].failureSummary?.split("\n")[1]?.trim() ?? "" }))), everything);
  return violations.map((v) => `axe (${scheme}): ${v.id}: ${v.help}; ${v.count} times, first ${v.first} ${v.why}`);
}

/** Charts are drawn, and no text is an accident. */
export async function content(page) {
  return page.evaluate(() => {
    const problems = [];
    const text = document.getElementById("page").innerText;
    const odd = /\b(NaN|undefined|Infinity)\b|\[object /.exec(text);
    if (odd) problems.push(`text: “${text.slice(Math.max(0, odd.index - 40), odd.index + 40).replaceAll("\n", " ")}”`);
    if (!document.title.trim()) problems.push("the page has no title");
    for (const canvas of document.querySelectorAll(".chart canvas")) {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      if (!data.some((v) => v !== 0)) problems.push(`nothing is drawn in: ${canvas.closest(".chart").getAttribute("aria-label").slice(0, 60)}`);
    }
    const without = document.querySelector("noscript")?.textContent ?? "";
    if (without.trim().length < 20 || without.includes("<!--evenkeel")) problems.push("there is nothing for readers without scripts");
    const ids = [...document.querySelectorAll("[id]")].map((n) => n.id);
    if (new Set(ids).size !== ids.length) problems.push("an id is used twice");
    return problems;
  });
}

/** The page is not wider than the window. */
export async function width(page) {
  return page.evaluate(() => {
    if (document.documentElement.scrollWidth <= innerWidth) return [];
    const wide = [...document.querySelectorAll("main *")].filter((n) => n.scrollWidth > n.clientWidth + 1 && n.clientWidth > 0 && n.children.length === 0 && getComputedStyle(n).overflowX === "visible" && !n.closest(".scroll, svg"));
    return [`the page is ${document.documentElement.scrollWidth} px wide in a window of ${innerWidth} px: ${wide.slice(0, 3).map((n) => `${n.tagName.toLowerCase()}.${n.className} “${n.textContent.slice(0, 60)}”`).join(", ")}`];
  });
}
