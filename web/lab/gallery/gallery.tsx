// All scenarios of evenkeel, and a place for one's own.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { Dialog, overlay } from "../overlay";
import { asRefusal, load } from "../playback/session";
import { play } from "../playback/driver";
import { scenario } from "../state";
import { type Entry, scenarios } from "./scenarios";

export function Gallery() {
  const all = useSignal<Entry[]>([]);
  const wanted = useSignal("");
  const own = useSignal("");
  const problem = useSignal<string | null>(null);
  useEffect(() => { void scenarios().then((found) => { all.value = found; }); }, []);
  const open = async (entry: { name: string; source: string; files: Record<string, string> }) => {
    problem.value = null;
    try {
      await load(entry);
      overlay.value = null;
      play();
    } catch (error) {
      const told = asRefusal(error);
      problem.value = [told.line != null ? `Line ${told.line}:` : "", told.message, told.help].filter(Boolean).join(" ");
    }
  };
  const words = wanted.value.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = all.value.filter((one) => words.every((word) => `${one.name} ${one.title} ${one.question}`.toLowerCase().includes(word)));
  return (
    <Dialog title="Scenarios" wide>
      <label class="search"><span class="unseen">Search scenarios</span><input type="search" placeholder={`Search ${all.value.length} scenarios`} value={wanted.value} onInput={(event) => { wanted.value = event.currentTarget.value; }} /></label>
      {problem.value && <p class="refused" role="alert">{problem.value}</p>}
      <ul class="gallery">
        {shown.map((one) => (
          <li key={one.name}>
            <button type="button" aria-current={scenario.value?.name === one.name ? "true" : undefined} onClick={() => void open(one)}>
              <span class="mono soft">{one.name}</span><b>{one.title}</b><span class="about">{one.question}</span>
            </button>
          </li>
        ))}
      </ul>
      {shown.length === 0 && <p class="note">No scenario has these words.</p>}
      <details class="own">
        <summary>Your own scenario</summary>
        <p class="note">TOML, as <code>evenkeel run</code> reads it. Nothing leaves this page.</p>
        <textarea rows={10} spellcheck={false} aria-label="Your own scenario as TOML" value={own.value} onInput={(event) => { own.value = event.currentTarget.value; }} />
        <div class="command">
          <button type="button" class="quiet" disabled={!own.value.trim()} onClick={() => void open({ name: "my-scenario", source: own.value, files: {} })}>Open</button>
          <label class="quiet file">Open a file… <input type="file" class="unseen" accept=".toml,text/plain" onChange={(event) => {
            const file = event.currentTarget.files?.[0];
            if (file) void file.text().then((source) => open({ name: file.name.replace(/\.toml$/, ""), source, files: {} }));
          }} /></label>
        </div>
      </details>
    </Dialog>
  );
}
