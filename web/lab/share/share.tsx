// What others need to see the same: a link, the scenario, the log of acts, the command.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { Dialog } from "../overlay";
import { acts, changes, lanes, scenario, seed, source } from "../state";
import { fragment } from "./link";

function Copy({ text, label }: { text: string; label: string }) {
  const told = useSignal("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      told.value = "Copied";
    } catch {
      told.value = "Select the text and copy it";
    }
    setTimeout(() => { told.value = ""; }, 2500);
  };
  return <><button type="button" class="quiet" onClick={() => void copy()}>{label}</button> <span class="copied" role="status">{told.value}</span></>;
}

export const actsLog = (): string => acts.value.map((one) => `${JSON.stringify(one)}\n`).join("");

const quoted = (text: string) => (/^[\w.,/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** The command whose numbers are those of this page at the end of the run. */
export function command(): string {
  const name = scenario.value?.name ?? "scenario";
  const parts = ["evenkeel", "run", changes.value.length ? `${name}.toml` : name, "--replications", "1", "--strategies", quoted(lanes.value.map((lane) => lane.strategy).join(","))];
  if (seed.value != null) parts.push("--seed", String(seed.value));
  if (acts.value.length) parts.push("--acts", "acts.jsonl");
  return parts.join(" ");
}

export function save(name: string, text: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

export function Share() {
  const link = useSignal("");
  useEffect(() => {
    void fragment().then((text) => { link.value = `${location.href.split("#")[0]}#${text}`; });
  }, []);
  const name = `${scenario.value?.name ?? "scenario"}.toml`;
  return (
    <Dialog title="Share">
      <h3>Link</h3>
      <p>Scenario, strategies, seed, what you changed and did, and the time. The link shows everyone the same numbers.</p>
      <div class="command"><input class="link-text" readOnly value={link.value} aria-label="Link" onFocus={(event) => event.currentTarget.select()} /><Copy text={link.value} label="Copy link" /></div>
      <h3>Command that gives these numbers</h3>
      <p>At the end of the run, the table below the lanes has the numbers of this command, digit by digit.{changes.value.length > 0 && <> It reads the scenario with your changes: save it as <code>{name}</code>.</>}</p>
      <div class="command"><pre tabIndex={0} aria-label="Command"><code>{command()}</code></pre><Copy text={command()} label="Copy command" /></div>
      <h3>Files</h3>
      <div class="command">
        <Copy text={source.value} label="Copy as TOML" />
        <button type="button" class="quiet" onClick={() => save(name, source.value)}>Save {name}</button>
        <button type="button" class="quiet" disabled={!acts.value.length} onClick={() => save("acts.jsonl", actsLog())}>Save acts.jsonl</button>
      </div>
      {!acts.value.length && <p class="note">There are no acts: no fault by you, no change of the load.</p>}
      <details><summary>The scenario as it is now</summary><pre class="source" tabIndex={0} aria-label="Scenario"><code>{source.value}</code></pre></details>
    </Dialog>
  );
}
