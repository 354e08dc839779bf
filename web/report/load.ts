// The document that the program wrote into the page: plain JSON, or gzip in base64.
import type { Report } from "./model";

async function unpacked(text: string): Promise<string> {
  const bytes = Uint8Array.from(atob(text.trim()), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

export async function load(): Promise<Report> {
  const packed = document.getElementById("evenkeel-data-gz")?.textContent?.trim();
  const plain = document.getElementById("evenkeel-data")?.textContent?.trim();
  const text = packed && !packed.startsWith("<!--") ? await unpacked(packed) : plain;
  if (!text || text.startsWith("<!--")) throw new Error("The page holds no data. The program evenkeel writes it: evenkeel run SCENARIO.");
  const report = JSON.parse(text) as Report;
  if (report.schema_version !== 1) throw new Error(`This page reads schema version 1; the data has version ${report.schema_version}.`);
  return report;
}
