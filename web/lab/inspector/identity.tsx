// How a server is told apart in drawings: a colour, a pattern and a short label, so that nothing depends on colour alone.
import { COLOURS, hex, numbered } from "../../shared/palette";
import { dark } from "../../shared/theme";

export interface Identity {
  server: number;
  name: string;
  /** Two to four characters that no other server of the pool has. */
  short: string;
  colour: number;
  /** 0 plain, 1 diagonal, 2 dots, 3 counter-diagonal. */
  pattern: number;
}

/** `web-3` is `3`; in a pool with `fast-1` and `slow-1` they are `f1` and `s1`. */
export function identities(servers: { server: number; name: string }[]): Map<number, Identity> {
  const digits = servers.map((s) => /(\d+)$/.exec(s.name)?.[1] ?? "");
  const lettered = servers.map((s, i) => s.name.charAt(0) + digits[i]);
  const unique = (words: string[]) => words.every((w) => w !== "" && w.length <= 4) && new Set(words).size === words.length;
  const short = unique(digits) ? digits : unique(lettered) ? lettered : servers.map((_, i) => String(i + 1));
  return new Map(servers.map((s, i) => [s.server, { server: s.server, name: s.name, short: short[i], colour: i % COLOURS, pattern: Math.floor(i / COLOURS) % 4 }]));
}

export const colourOf = (id: Identity): string => hex(numbered(id.colour), dark.value);

/** Black or white, whichever is read better on a colour. */
export function inkOn(colour: string): string {
  const [r, g, b] = [1, 3, 5].map((i) => {
    const v = parseInt(colour.slice(i, i + 2), 16) / 255;
    return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.22 ? "#12181d" : "#ffffff";
}

const LINES = ["", "M-1 1L1-1M0 8L8 0M7 9L9 7", "M4 4h.01", "M-1 7L1 9M0 0L8 8M7-1L9 1"];

/** Patterns of all servers, to be referred to with `fill`. */
export function Patterns({ of, prefix }: { of: Identity[]; prefix: string }) {
  return (
    <defs>
      {of.filter((id) => id.pattern).map((id) => (
        <pattern key={id.server} id={`${prefix}-${id.server}`} width="8" height="8" patternUnits="userSpaceOnUse">
          <rect width="8" height="8" fill={colourOf(id)} />
          <path d={LINES[id.pattern]} stroke={inkOn(colourOf(id))} stroke-opacity="0.5" stroke-width={id.pattern === 2 ? 3.4 : 1.7} stroke-linecap={id.pattern === 2 ? "round" : "butt"} />
        </pattern>
      ))}
    </defs>
  );
}

export const fillOf = (id: Identity, prefix: string): string => (id.pattern ? `url(#${prefix}-${id.server})` : colourOf(id));

/** The server's label on its colour, as it stands in the drawings. */
export function Mark({ id, prefix }: { id: Identity; prefix: string }) {
  return (
    <svg class="server-mark" width="26" height="18" viewBox="0 0 26 18" aria-hidden="true">
      <rect width="26" height="18" rx="3" fill={fillOf(id, prefix)} />
      {id.pattern > 0 && <rect x="5" y="2.5" width="16" height="13" rx="2" fill={colourOf(id)} />}
      <text x="13" y="13" text-anchor="middle" fill={inkOn(colourOf(id))}>{id.short}</text>
    </svg>
  );
}
