// Frame times and memory.

const SCENARIO = "title = \"Sixteen servers\"\nquestion = \"How smooth is it?\"\nduration = \"600s\"\nwarmup = \"5s\"\narrivals = { poisson = { load = \"80%\" } }\nservice = { exponential = { mean = \"10ms\" } }\n[[pools]]\nname = \"web\"\n[[pools.servers]]\nname = \"web\"\ncount = 16\n";

/** An address with a scenario of its own: four lanes of 16 servers. */
export function address() {
  return "scenario=even-load&strategy=random&strategy=p2c&strategy=round_robin&strategy=least_request&time=5&speed=0.05";
}

async function times(page, count) {
  const all = await page.evaluate((n) => new Promise((done) => {
    const found = [];
    let last = performance.now();
    const frame = (now) => {
      found.push(now - last);
      last = now;
      if (found.length < n) requestAnimationFrame(frame);
      else done(found);
    };
    requestAnimationFrame(frame);
  }), count);
  all.sort((a, b) => a - b);
  return { median: all[Math.floor(count / 2)], p95: all[Math.floor(count * 0.95)] };
}

/** Milliseconds of work per picture, without waiting. */
async function work(page, count) {
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable");
  const read = async () => Object.fromEntries((await session.send("Performance.getMetrics")).metrics.map((one) => [one.name, one.value]));
  const before = await read();
  const shown = await times(page, count);
  const after = await read();
  return { ...shown, script: (1000 * (after.ScriptDuration - before.ScriptDuration)) / count };
}

export async function measured(page) {
  await page.keyboard.press("g");
  await page.click(".own summary");
  await page.fill(".own textarea", SCENARIO);
  await page.locator(".own .command button").click();
  await page.waitForFunction(() => document.querySelector("h1")?.textContent === "Sixteen servers");
  for (const strategy of ["round_robin", "least_request"]) {
    await page.selectOption(".add-lane select", strategy);
    await page.waitForTimeout(500);
  }
  const problems = [];
  if ((await page.locator(".lane").count()) !== 4) problems.push("there are not four lanes");
  for (const [name, key] of [["single requests", "1"], ["real time", "2"], ["results", "3"]]) {
    await page.evaluate(() => document.activeElement?.blur());
    await page.keyboard.press(key);
    await page.waitForTimeout(700);
    const { median, p95, script } = await work(page, 120);
    console.log(`    ${name}: median ${median.toFixed(1)} ms, p95 ${p95.toFixed(1)} ms between pictures; ${script.toFixed(1)} ms of script each`);
    // A loaded machine shows fewer pictures; the script must leave room in any case.
    if (script > 33) problems.push(`${name}: ${script.toFixed(1)} ms of script per picture`);
  }
  return problems;
}

/** Used memory after a collection, in MB, while the page plays. */
export async function memory(page, seconds) {
  const session = await page.context().newCDPSession(page);
  const used = async () => {
    await session.send("HeapProfiler.collectGarbage");
    return (await session.send("Runtime.getHeapUsage")).usedSize / 1e6;
  };
  await page.waitForTimeout(3000);
  const before = await used();
  await page.waitForTimeout(seconds * 1000);
  const after = await used();
  console.log(`    ${before.toFixed(1)} MB, after ${seconds} s ${after.toFixed(1)} MB`);
  return after > before + 3 ? [`the page's memory grew from ${before.toFixed(1)} to ${after.toFixed(1)} MB`] : [];
}
