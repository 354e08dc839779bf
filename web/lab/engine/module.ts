// The engine's code: unpacked and compiled once for all workers.
import packed from "virtual:lab-engine";
import { unpack } from "./unpack";

let module: Promise<WebAssembly.Module> | null = null;

export function compiled(): Promise<WebAssembly.Module> {
  module ??= WebAssembly.compile(unpack(packed));
  return module;
}
