// Reads the CSV files of results.
import { readFileSync } from "node:fs";

/** Rows as objects by column name. */
export function rows(path) {
  const lines = readFileSync(path, "utf8").trim().split(/\r?\n/);
  const cells = (line) => [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map((m) => (m[1] !== undefined ? m[1].replaceAll('""', '"') : m[2]));
  const names = cells(lines[0]);
  return lines.slice(1).map((line) => {
    const row = cells(line);
    return Object.fromEntries(names.map((name, i) => [name, row[i]]));
  });
}
