// The scenarios of evenkeel, with the data files that they refer to.
import packed from "virtual:lab-scenarios";
import { unpackText } from "../engine/unpack";
import type { Scenario } from "../state";

export interface Entry extends Scenario { title: string; question: string }

/** First paragraph of a TOML text between triple quotes. */
function prose(source: string, key: string): string {
  const text = new RegExp(`^${key} = """\\s*([^]*?)"""`, "m").exec(source)?.[1] ?? new RegExp(`^${key} = "(.*)"`, "m").exec(source)?.[1] ?? "";
  return text.trim().split(/\n\s*\n/)[0].replace(/\s*\n\s*/g, " ");
}

let all: Promise<Entry[]> | null = null;

export function scenarios(): Promise<Entry[]> {
  all ??= unpackText(packed).then((text) => {
    const { scenarios: found, files } = JSON.parse(text) as { scenarios: Record<string, string>; files: Record<string, string> };
    return Object.entries(found).map(([name, source]) => ({
      name, source, title: prose(source, "title"), question: prose(source, "question"),
      files: Object.fromEntries(Object.entries(files).filter(([file]) => source.includes(`"${file}"`))),
    }));
  });
  return all;
}
