// Texts and code that the lab carries: zstd, written with seven bits per character. gzip in base64 would be half as large again.
import { compress, init } from "@bokuweb/zstd-wasm";

/** What HTML would change or take for a tag: NUL, carriage return, `<`. Two-byte characters stand for these. */
const AVOIDED = [0, 13, 60];
const FIRST_STAND_IN = 0x100;

function written(bytes) {
  let text = "";
  let [bits, count] = [0, 0];
  const put = (code) => {
    const avoided = AVOIDED.indexOf(code);
    text += String.fromCharCode(avoided < 0 ? code : FIRST_STAND_IN + avoided);
  };
  for (const byte of bytes) {
    bits = (bits << 8) | byte;
    count += 8;
    while (count >= 7) {
      count -= 7;
      put((bits >> count) & 127);
    }
    bits &= (1 << count) - 1;
  }
  if (count > 0) put((bits << (7 - count)) & 127);
  return text;
}

/** Elements that hold the contents; `lab/engine/unpack.ts` reads them. */
export async function elements(contents) {
  await init();
  return Object.entries(contents).map(([id, bytes]) => {
    const packed = compress(bytes, 22);
    return `<script type="text/plain" id="${id}" data-bytes="${packed.length}">${written(packed)}</script>\n`;
  }).join("");
}
