// For development only: builds tests/dev/parts and takes pictures of them. node tests/dev/parts.mjs OUT [query ...]
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "vite";
import { viteSingleFile } from "vite-plugin-singlefile";
import { launch } from "../browser.mjs";

const root = fileURLToPath(new URL("parts", import.meta.url));
const out = resolve(process.argv[2]);
mkdirSync(out, { recursive: true });
await build({ root, logLevel: "error", plugins: [viteSingleFile()], build: { outDir: join(out, "site"), emptyOutDir: true, target: "es2022", modulePreload: false, rolldownOptions: { input: join(root, "parts.html") } } });
const browser = await launch();
const page = await browser.newPage();
page.on("pageerror", (error) => console.error(error.message));
page.on("console", (message) => console.error(message.text()));
for (const query of process.argv.slice(3)) {
  for (const [width, scheme] of [[390, "light"], [900, "dark"], [1600, "light"]]) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.setViewportSize({ width, height: 700 });
    await page.goto(`${pathToFileURL(join(out, "site", "parts.html")).href}?${query}`);
    await page.waitForTimeout(120);
    await page.screenshot({ path: join(out, `${query.replace(/\W+/g, "-")}-${width}.png`), fullPage: true });
  }
}
await browser.close();
