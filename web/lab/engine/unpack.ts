// Texts and code in the page are zstd, written with seven bits per character by `packed.mjs`.
import { decompress } from "fzstd";

/** Characters that stand for those that HTML would change. */
const AVOIDED = [0, 13, 60];
const FIRST_STAND_IN = 0x100;

/** The contents of an element; the text in the page is given up, since nothing reads it twice. */
export function unpack(id: string): Uint8Array<ArrayBuffer> {
  const element = document.getElementById(id)!;
  const text = element.textContent;
  const bytes = new Uint8Array(Number(element.dataset.bytes));
  let [bits, count, at] = [0, 0, 0];
  for (let i = 0; i < text.length; i++) {
    const char = text.charCodeAt(i);
    bits = ((bits << 7) | (char < FIRST_STAND_IN ? char : AVOIDED[char - FIRST_STAND_IN])) & 0x7fff;
    count += 7;
    if (count < 8) continue;
    count -= 8;
    bytes[at++] = bits >> count;
  }
  element.remove();
  return decompress(bytes) as Uint8Array<ArrayBuffer>;
}

export const unpackText = async (id: string): Promise<string> => new TextDecoder().decode(unpack(id));
