// The engine's code: in the page as gzip in base64, unpacked and compiled once for all workers.
import packed from "virtual:lab-engine";
import { unpack } from "./unpack";

let module: Promise<WebAssembly.Module> | null = null;

export function compiled(): Promise<WebAssembly.Module> {
  module ??= unpack(packed).then((bytes) => WebAssembly.compile(bytes));
  return module;
}
