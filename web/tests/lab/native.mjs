// The page's numbers against those of the program: `evenkeel run --replications 1`.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rows } from "../csv.mjs";
import { over, settled, values } from "./page.mjs";

const pair = (scenario, ...strategies) => [`${scenario}, ${strategies.join(" and ")}`, `#scenario=${scenario}&${strategies.map((one) => `strategy=${encodeURIComponent(one)}`).join("&")}&time=1&speed=1000`, { scenario, strategies }];

/** Ten pairs of a scenario and a strategy, and more. */
export const CASES = [
  pair("even-load", "random", "p2c"), pair("crash", "round_robin", "peak_ewma"), pair("retry-storm", "least_request", "p2c"), pair("cache-affinity", "consistent_hash", "bounded_load"),
  pair("two-tiers", "round_robin", "join_idle_queue"), pair("unlike-servers", "weighted_round_robin", "maglev"),
];

/** Compares the numbers of the table with metrics.csv, digit by digit as the file has them. */
async function compare(page, native, { scenario, strategies, acts }) {
  const folder = mkdtempSync(join(tmpdir(), "evenkeel-lab-"));
  try {
    const more = acts ? ["--acts", join(folder, "acts.jsonl")] : [];
    if (acts) writeFileSync(join(folder, "acts.jsonl"), acts);
    execFileSync(native, ["run", scenario, "--replications", "1", "--strategies", strategies.join(","), "--no-report", "-q", "-o", folder, ...more], { stdio: ["ignore", "ignore", "pipe"] });
    const known = rows(join(folder, scenario, "metrics.csv"));
    const shown = await values(page);
    let compared = 0;
    const problems = [];
    for (const [metric, cells] of Object.entries(shown)) {
      strategies.forEach((strategy, i) => {
        const row = known.find((one) => one.strategy === strategy && one.metric === metric);
        if (!row || row.value === "") return;
        compared += 1;
        if (Number(Number(cells[i]).toPrecision(10)) !== Number(row.value)) problems.push(`${strategy}, ${metric}: the page has ${cells[i]}, metrics.csv ${row.value}`);
      });
    }
    if (compared < 8 * strategies.length) problems.push(`only ${compared} numbers could be compared`);
    return problems;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export async function equal(page, native, file) {
  await page.keyboard.press("End");
  await over(page);
  await settled(page);
  return compare(page, native, file);
}

/** Two faults and a moved load slider at times as they come; the saved log repeats them. */
export async function session(page, native) {
  await page.click("#tab-faults");
  await page.click(".round.play");
  await page.waitForTimeout(400);
  await page.locator(".fault", { hasText: "slower" }).click();
  await page.waitForTimeout(300);
  await page.locator("#load-now").fill("1.3");
  await page.waitForTimeout(300);
  await page.locator(".fault", { hasText: "crash" }).first().click();
  await page.waitForTimeout(300);
  await page.click(".round.play");
  await settled(page);
  await page.evaluate(() => document.activeElement?.blur());
  await page.keyboard.press("h");
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByText("Save acts.jsonl").click()]);
  const chunks = [];
  for await (const chunk of await download.createReadStream()) chunks.push(chunk);
  const acts = Buffer.concat(chunks).toString();
  await page.keyboard.press("Escape");
  await page.waitForSelector("dialog", { state: "detached" });
  await page.keyboard.press("End");
  await over(page);
  await settled(page);
  const problems = await compare(page, native, { scenario: "crash", strategies: ["round_robin", "p2c"], acts });
  if (acts.trim().split("\n").length !== 3) problems.push(`the log has ${acts.trim().split("\n").length} lines, not 3`);
  return problems;
}
