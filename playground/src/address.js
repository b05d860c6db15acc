// The experiment in the fragment of the address: JSON, deflated, in base64 for addresses.
// `#example=NAME` names an example instead.

const VERSION = 1;
export const LONGEST = 64_000;

export class Unreadable extends Error {}

async function through(bytes, stream) {
  const piped = new Blob([bytes]).stream().pipeThrough(stream);
  return new Uint8Array(await new Response(piped).arrayBuffer());
}

export async function written(experiment) {
  const bytes = await through(new TextEncoder().encode(JSON.stringify(experiment)), new CompressionStream("deflate-raw"));
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return `#v${VERSION}.${btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
}

// Returns `{example}`, an experiment, or null for an address that says nothing.
export async function read(fragment) {
  if (!fragment || fragment === "#") return null;
  if (fragment.length > LONGEST) {
    throw new Unreadable(`The address has ${fragment.length.toLocaleString("en")} characters after #, and ${LONGEST.toLocaleString("en")} are the most: ask for the code instead of the link.`);
  }
  const example = /^#example=([a-z0-9-]{1,80})$/.exec(fragment);
  if (example) return { example: example[1] };
  const tool = /^#(filters|converter)$/.exec(fragment);
  if (tool) return { tab: tool[1] };
  const found = /^#v(\d{1,4})\.([A-Za-z0-9_-]+)$/.exec(fragment);
  if (!found) throw new Unreadable("The part of the address after # is not one of this page: copy the whole link again.");
  if (+found[1] !== VERSION) {
    throw new Unreadable(`The address is of version ${found[1]}, and this page reads version ${VERSION}: open it with the page that made it.`);
  }
  let experiment;
  try {
    const binary = atob(found[2].replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
    experiment = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(await through(bytes, new DecompressionStream("deflate-raw"))));
  } catch {
    throw new Unreadable("The address was cut off or changed: copy the whole link again.");
  }
  if (typeof experiment !== "object" || experiment === null || Array.isArray(experiment)) {
    throw new Unreadable("The address holds no experiment: copy the whole link again.");
  }
  return experiment;
}
