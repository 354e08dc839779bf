// The engine's code: in the page as gzip in base64, unpacked and compiled once for all workers.
import packed from "virtual:lab-engine";
import { unpacked } from "./unpack";

let module: Promise<WebAssembly.Module> | null = null;

export function compiled(): Promise<WebAssembly.Module> {
  // Compiled while it is unpacked.
  module ??= WebAssembly.compileStreaming(new Response(unpacked(packed), { headers: { "Content-Type": "application/wasm" } }));
  return module;
}
