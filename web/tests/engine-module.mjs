// The lab's engine in Node: loads the WebAssembly module and wraps its functions, as web/lab/engine.ts describes them.
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

export function load(file) {
  const bytes = readFileSync(file);
  const module = new WebAssembly.Module(file.endsWith(".gz") ? gunzipSync(bytes) : bytes);
  const { exports } = new WebAssembly.Instance(module, {});
  if (exports.lab_abi() !== 1) throw new Error("another version of the interface");
  const text = (at, length) => new TextDecoder().decode(new Uint8Array(exports.memory.buffer, at, length));
  const output = () => text(exports.lab_output(), exports.lab_output_len());
  const numbers = () => Float64Array.from(new Float64Array(exports.memory.buffer, exports.lab_output(), exports.lab_output_len() / 8));
  /** Calls with a JSON document as the last two arguments. */
  const send = (call, value) => {
    const bytes = new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
    const at = exports.lab_alloc(bytes.length);
    new Uint8Array(exports.memory.buffer, at, bytes.length).set(bytes);
    try {
      return call(at, bytes.length);
    } catch (error) {
      if (exports.lab_panic()) throw new Error(text(exports.lab_panic(), exports.lab_panic_len()), { cause: error });
      throw error;
    } finally {
      exports.lab_free(at, bytes.length);
    }
  };
  const refuse = () => {
    const refusal = JSON.parse(output());
    throw Object.assign(new Error(refusal.message), { refusal });
  };
  const answer = (refused) => (refused ? refuse() : JSON.parse(output()));
  return {
    exports,
    output,
    numbers,
    call: (request) => answer(send(exports.lab_call, request)),
    open: (request) => send(exports.lab_open, request) || refuse(),
    act: (handle, act) => answer(send((at, length) => exports.lab_act(handle, at, length), act)),
    stepUntil: (handle, seconds) => exports.lab_step_until(handle, seconds * 1e9),
    step: (handle) => exports.lab_step(handle),
    trace: (handle, on) => exports.lab_trace(handle, on ? 1 : 0),
    frame: (handle) => (exports.lab_frame(handle), numbers()),
    events: (handle) => (exports.lab_events(handle), numbers()),
    metrics: (handle) => answer(exports.lab_metrics(handle)),
    record: (handle) => answer(exports.lab_record(handle)),
    why: (handle, job = -1) => (exports.lab_why(handle, job), JSON.parse(output())),
    close: (handle) => exports.lab_close(handle),
    memory: () => exports.memory.buffer.byteLength,
  };
}
