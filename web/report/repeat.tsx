// How to repeat the result: command, seed, version, hashes, files, the scenario's source.
import { useSignal } from "@preact/signals";
import type { Repeat } from "./model";
import { Scroll } from "../shared/scroll";

function Command({ command }: { command: string }) {
  const copied = useSignal("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(command);
      copied.value = "Copied";
    } catch {
      copied.value = "Select the command and copy it";
    }
    setTimeout(() => { copied.value = ""; }, 2500);
  };
  return (
    <div class="command">
      <pre tabIndex={0} aria-label="Command"><code>{command}</code></pre>
      <button type="button" class="quiet" onClick={copy}>Copy</button>
      <span class="copied" role="status">{copied.value}</span>
    </div>
  );
}

export function RepeatSection({ repeat }: { repeat: Repeat }) {
  if (!repeat.command && !repeat.scenario_source && !repeat.files.length) return null;
  const rows: [string, string | null][] = [
    ["version", repeat.version], ["commit", repeat.commit], ["seed", repeat.seed], ["machine", repeat.machine], ["scenario (SHA-256)", repeat.scenario_sha256],
  ];
  return (
    <section id="repeat" aria-labelledby="repeat-h">
      <h2 id="repeat-h">How to reproduce this</h2>
      {repeat.command && <><p>The same command, version and seed give the same results, byte for byte.</p><Command command={repeat.command} /></>}
      <dl class="facts plain">
        {rows.filter(([, value]) => value != null).map(([name, value]) => <div key={name}><dt>{name}</dt><dd class="mono">{value}</dd></div>)}
      </dl>
      {repeat.scenario_source && (
        <details>
          <summary>The scenario's source</summary>
          <pre class="source" tabIndex={0} aria-label="Source of the scenario"><code>{repeat.scenario_source}</code></pre>
        </details>
      )}
      {repeat.files.length > 0 && (
        <details>
          <summary>Files beside this report ({repeat.files.length})</summary>
          <Scroll label="Files">
            <table class="numbers files">
              <thead><tr><th scope="col">file</th><th scope="col">what it holds</th><th scope="col">SHA-256</th></tr></thead>
              <tbody>{repeat.files.map((file) => <tr key={file.name}><th scope="row" class="mono">{file.name}</th><td>{file.doc}</td><td class="mono hash">{file.sha256 ?? "–"}</td></tr>)}</tbody>
            </table>
          </Scroll>
        </details>
      )}
      {repeat.workloads.length > 0 && (
        <details>
          <summary>Hashes of the workloads ({repeat.workloads.length})</summary>
          <p class="mono hashes">{repeat.workloads.join(" ")}</p>
        </details>
      )}
    </section>
  );
}
