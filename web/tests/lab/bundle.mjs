// Bundles a TypeScript file for the browser, as one script.
import { build } from "vite";

export async function bundle(entry) {
  const result = await build({ configFile: false, logLevel: "error", oxc: { jsx: { runtime: "automatic", importSource: "preact" } }, build: { write: false, target: "es2022", minify: false, lib: { entry, formats: ["iife"], name: "pure" } } });
  return (Array.isArray(result) ? result[0] : result).output.find((one) => one.type === "chunk").code;
}
