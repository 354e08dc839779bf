// A line of text with a button that copies it.
import { useSignal } from "@preact/signals";

export function CopyLine({ text, label }: { text: string; label: string }) {
  const said = useSignal("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      said.value = "Copied";
    } catch {
      said.value = "Select the text and copy it";
    }
    setTimeout(() => { said.value = ""; }, 2500);
  };
  return (
    <div class="command">
      <pre tabIndex={0} aria-label={label}><code>{text}</code></pre>
      <button type="button" class="quiet" onClick={copy}>Copy</button>
      <span class="copied" role="status">{said.value}</span>
    </div>
  );
}

/** Offers a text as a file. */
export function download(name: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
