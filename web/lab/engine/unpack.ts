// Texts and code in the page are gzip in base64.
export async function unpack(base64: string): Promise<ArrayBuffer> {
  const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

export const unpackText = async (base64: string): Promise<string> => new TextDecoder().decode(await unpack(base64));
