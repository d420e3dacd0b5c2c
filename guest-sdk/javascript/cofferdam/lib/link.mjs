// Links columns.wat, as a component of its own, into one that imports it. A component is a
// list of sections; the import becomes an instance that the component has in itself.

/** `wasm-tools parse columns.wat`; tests/tests/authoring_javascript.rs holds it to that. */
export const COLUMNS = Buffer.from("AGFzbQ0AAQABng4AYXNtAQAAAAEvB2AEf39/fwF/YAF/AGACf38Bf2AAAX9gAX8Bf2AFf39/f38Bf2AGf39/f39/AX8DERAAAQIDAgQCBAQCAgUAAAAGBQMBAAEGCwJ/AEEQC38BQRALB1cJBm1lbW9yeQIAB3JlYWxsb2MAAARkb25lAAEGZGVjb2RlAAkGZW5jb2RlAAoFdW5pdHMADAZwbGFjZXMADQl0cmFuc2xhdGUADgpjb250YWluaW5nAA8K5QcQYQEDfyMBIAJBAWtqQQAgAmtxIQQgBCADaiEFIAVBAEggBSAESXIEQAALIAVB//8DakEQdj8AayEGIAZBAEoEQCAGQABBf0YEQAALCyAFJAEgAQRAIAQgACAB/AoAAAsgBAsGACMAJAELGQBBAEEBNgIAQQQgADYCAEEIIAE2AgBBAAsLAEEAQQA2AgBBAAsSAEEAIAA2AgBBBCABNgIAQQALDwAgAC0AAEHAAXFBgAFGC7oCAQV/IAAgAWohAgNAAkADQCACIABrQQhJDQEgACkDAEKAgYKEiJCgwIB/g0IAUg0BIABBCGohAAwACwsgACACTwRAQQEPCyAALQAAIQMgA0GAAUkEQCAAQQFqIQAMAQtBgAEhBUG/ASEGIANBwgFJBEBBAA8LIANB4AFJBEBBASEEBSADQfABSQRAQQIhBCADQeABRgRAQaABIQULIANB7QFGBEBBnwEhBgsFIANB9AFLBEBBAA8LQQMhBCADQfABRgRAQZABIQULIANB9AFGBEBBjwEhBgsLCyACIABrIARNBEBBAA8LIAAtAAEhAyADIAVJIAMgBktyBEBBAA8LIARBAUsEQCAAQQJqEAVFBEBBAA8LCyAEQQJLBEAgAEEDahAFRQRAQQAPCwsgACAEakEBaiEADAALAAsNAEECQQEgAEHwAU8bCyIAIABB4AFJBH9BAUECIABBgAFJGwVBA0EEIABB8AFJGwsLFAAgACABEAYEfyAAIAEQAgUQAwsLCAAgACABEAQLhQEBB38CQANAIAcgA08NASACIAdBAnRqIQsgCygCACEKAkADQCAFIAYgBBshCSAJIApGDQEgCSAKSyAFIAFPcgRAEAMPCyAAIAVqLQAAIQggBiAIEAdqIQYgBSAIEAhqIQUMAAsLIAsgBiAFIAQbNgIAIAdBAWohBwwACwsgAiADQQJ0EAILDgAgACABIAIgA0EBEAsLDgAgACABIAIgA0EAEAsLRQECfyADQYACRwRAAAsgACEEIAAgAWohBQJAA0AgBCAFTw0BIAQgAiAELQAAai0AADoAACAEQQFqIQQMAAsLIAAgARAEC7oBAQZ/IAQtAAAhCiACIQsCQANAIAZBAWogA08NASACIAZBAnRqIQggACAIKAIAaiEHIAAgCCgCBGogBWshCAJAA0AgByAISg0BIActAAAgCkcEQCAHQQFqIQcMAQtBASEJAkADQCAJIAVGBEAgCyAGNgIAIAtBBGohCwwECyAHIAlqLQAAIAQgCWotAABHDQEgCUEBaiEJDAALCyAHQQFqIQcMAAsLIAZBAWohBgwACwsgAiALIAJrEAQLAPwEBG5hbWUACAdjb2x1bW5zAUIIAgRzb21lAwRub25lBAVieXRlcwUHZ29lc19vbgYHaXNfdXRmOAcIdW5pdHNfb2YICGJ5dGVzX29mCwZwbGFjZXMCpwMOAAcAA29sZAEIb2xkX3NpemUCBWFsaWduAwRzaXplBAJhdAUDZW5kBgVwYWdlcwICAAJhdAEGbGVuZ3RoBAIAAmF0AQZsZW5ndGgFAQACYXQGBwACYXQBBmxlbmd0aAIDZW5kAwRieXRlBARtb3JlBQNsb3cGBGhpZ2gHAQAEYnl0ZQgBAARieXRlCQIAAmF0AQZsZW5ndGgKAgACYXQBBmxlbmd0aAsMAARkYXRhAQZsZW5ndGgCBGxpc3QDBWNvdW50BAh0b191bml0cwUFYnl0ZXMGBXVuaXRzBwFpCARieXRlCQRoZXJlCgZ3YW50ZWQLBHNsb3QMBAAEZGF0YQEGbGVuZ3RoAgRsaXN0AwVjb3VudA0EAARkYXRhAQZsZW5ndGgCBGxpc3QDBWNvdW50DgYABGRhdGEBBmxlbmd0aAIFdGFibGUDBHNpemUEAmF0BQNlbmQPDAAEZGF0YQEGbGVuZ3RoAgdvZmZzZXRzAwVjb3VudAQGbmVlZGxlBQRzaXplBgNyb3cHAmF0CARsYXN0CQFqCgVmaXJzdAsFZm91bmQDbQQGAwAEbmV4dAEJbm90X2FzY2lpAgVhc2NpaQsEAANhbGwBBGVhY2gCBXRoZXJlAwJvbg4CAQNhbGwCBGVhY2gPBgADYWxsAQRlYWNoAghub3RfaGVyZQMCb24FB2RpZmZlcnMGB2NvbXBhcmUHDgIABXN0YXJ0AQRmcmVlAgQBAAAABiwEAAIBAAZtZW1vcnkAAAEAB3JlYWxsb2MAAAEABGRvbmUAAAEABmRlY29kZQcPA3B9a3NAAQRkYXRhAAABCAwBAAACAwMABAAFAQIGDAEAAAEABmVuY29kZQcNAnB9QAEEdGV4dHMAAwgMAQAAAwMDAAQABQEEBgsBAAABAAV1bml0cwcbBXB9cHlwfWsHQAIEZGF0YQUGcGxhY2VzBgAICAwBAAAEAwMABAAFAQkGDAEAAAEABnBsYWNlcwcaBXB9cHlwfWsMQAIEZGF0YQoFdW5pdHMLAA0IDAEAAAUDAwAEAAUBDgYPAQAAAQAJdHJhbnNsYXRlBxgEcH1wfXB9QAIEZGF0YQ8FdGFibGUQABEIDAEAAAYDAwAEAAUBEgYQAQAAAQAKY29udGFpbmluZwckBXB9cHlwfXB9QAMEZGF0YRMHb2Zmc2V0cxQGbmVlZGxlFQAWCAwBAAAHAwMABAAFARcLSQYABmRlY29kZQEAAAAGZW5jb2RlAQEAAAV1bml0cwECAAAGcGxhY2VzAQMAAAl0cmFuc2xhdGUBBAAACmNvbnRhaW5pbmcBBQAAfA5jb21wb25lbnQtbmFtZQFIAAAIAAdyZWFsbG9jAQRkb25lAgZkZWNvZGUDBmVuY29kZQQFdW5pdHMFBnBsYWNlcwYJdHJhbnNsYXRlBwpjb250YWluaW5nAQsAAgEABm1lbW9yeQEMABEBAAdjb2x1bW5zAQYAEgEAAWM=", "base64");

/** What it is called where it is imported; `columns.wit` has its types. */
export const PACKAGE = "cofferdam:javascript";
const IMPORT = `${PACKAGE}/columns`;

const HEADER = 8;
const [CUSTOM, COMPONENT, INSTANCE, IMPORTS] = [0, 4, 5, 10];

function unsigned(bytes, at) {
  let [value, shift] = [0, 0];
  for (;;) {
    const byte = bytes[at];
    at += 1;
    value |= (byte & 127) << shift;
    shift += 7;
    if (byte < 128) return [value >>> 0, at];
  }
}

function unsignedBytes(value) {
  const bytes = [];
  for (; value > 127; value >>>= 7) bytes.push((value & 127) | 128);
  return Buffer.from([...bytes, value]);
}

function sectionsOf(component) {
  const sections = [];
  for (let at = HEADER; at < component.length; ) {
    const id = component[at];
    const [size, start] = unsigned(component, at + 1);
    at = start + size;
    sections.push({ id, body: component.subarray(start, at) });
  }
  return sections;
}

/** Whether a section of imports has that import in it, and nothing else. */
function isImport({ id, body }) {
  if (id !== IMPORTS) return false;
  const [count, kind] = unsigned(body, 0);
  const [length, name] = unsigned(body, kind + 1);
  return count === 1 && body.toString("utf8", name, name + length).split("@")[0] === IMPORT;
}

/** What the component says it was made with, beside the Rust of its engine. */
function producers(language, tool) {
  const text = (value) => Buffer.concat([unsignedBytes(Buffer.byteLength(value)), Buffer.from(value)]);
  const field = (name, [value, version]) => Buffer.concat([text(name), Buffer.from([1]), text(value), text(version)]);
  return Buffer.concat([text("producers"), Buffer.from([2]), field("language", [language, ""]), field("processed-by", tool)]);
}

/**
 * The component, with what it imports linked in; as it is if it does not import it. `language` and `tool`, a
 * program and its version, are what it says of itself.
 */
export function linked(component, language, tool) {
  const sections = sectionsOf(component);
  if (!sections.some(isImport)) return component;
  // In front of all others, which keep their numbers: an import needs no component.
  const components = sections.filter(({ id }) => id === COMPONENT);
  const rest = sections.filter(({ id }) => id !== COMPONENT);
  // One instance, of that component, which takes nothing.
  const instance = Buffer.concat([Buffer.from([1, 0]), unsignedBytes(components.length), Buffer.from([0])]);
  const made = [
    ...components,
    { id: COMPONENT, body: COLUMNS },
    ...rest.map((section) => (isImport(section) ? { id: INSTANCE, body: instance } : section)),
    { id: CUSTOM, body: producers(language, tool) },
  ];
  const parts = made.map(({ id, body }) => Buffer.concat([Buffer.from([id]), unsignedBytes(body.length), body]));
  return Buffer.concat([component.subarray(0, HEADER), ...parts]);
}
