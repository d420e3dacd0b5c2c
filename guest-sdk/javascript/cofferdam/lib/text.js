// Bytes and text: UTF-8 both ways, with what there is. Knows no records.
//
// QuickJS has no TextDecoder, and a loop over bytes costs it some 45 ns a byte. columns.wat is
// linked into its components and does it in native code; before `open` it cannot be called, and
// text goes by way of what the engine has, base64 and the old escape functions, for 10 ns a byte.

const decoder = typeof TextDecoder === "function" ? new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }) : undefined;
const encoder = typeof TextEncoder === "function" ? new TextEncoder() : undefined;

/** Whether the engine decodes text itself. */
export const hasDecoder = decoder !== undefined;

/** A call of native code costs as much as some 400 bytes by the other way. */
const WORTH_A_CALL = 400;

/** The functions of columns.wat, where they are linked in and can be called. */
export let native;

/** Has native code do what it can, from now on. */
export function useNative(columns) {
  native = columns;
}

const ASCII = /^[\0-\x7f]*$/;

/** Whether all bytes are below 0x80. */
export function isAscii(bytes) {
  const end = bytes.byteOffset + bytes.length;
  const first = (bytes.byteOffset + 3) & ~3;
  let seen = 0;
  for (let i = 0; i < bytes.length && bytes.byteOffset + i < first; i += 1) seen |= bytes[i];
  if (first < end) {
    const words = new Int32Array(bytes.buffer, first, (end - first) >> 2);
    const whole = words.length & ~15;
    let i = 0;
    // Sixteen at a time: a round of the loop costs as much as four of these.
    for (; i < whole; i += 16) {
      seen |=
        words[i] | words[i + 1] | words[i + 2] | words[i + 3] |
        words[i + 4] | words[i + 5] | words[i + 6] | words[i + 7] |
        words[i + 8] | words[i + 9] | words[i + 10] | words[i + 11] |
        words[i + 12] | words[i + 13] | words[i + 14] | words[i + 15];
    }
    for (; i < words.length; i += 1) seen |= words[i];
    for (let b = first - bytes.byteOffset + 4 * words.length; b < bytes.length; b += 1) seen |= bytes[b];
  }
  return (seen & 0x80808080) === 0;
}

/** A text with one character from 0 to 255 for each byte. Not for engines with a decoder. */
export function binaryOf(bytes) {
  return atob(bytes.toBase64());
}

/** The text of such a binary text, or undefined if it is not UTF-8. */
export function textOfBinary(binary) {
  if (ASCII.test(binary)) return binary;
  try {
    return decodeURIComponent(escape(binary));
  } catch {
    return undefined;
  }
}

/** The text of these bytes, or undefined if they are not UTF-8. */
export function utf8(bytes) {
  if (decoder === undefined) {
    if (native !== undefined && bytes.length >= WORTH_A_CALL) return native.decode(bytes) ?? undefined;
    return textOfBinary(binaryOf(bytes));
  }
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

/** A text as UTF-8, as a binary text. */
function binaryOfText(text) {
  return ASCII.test(text) ? text : unescape(encodeURIComponent(text.toWellFormed()));
}

/** A text as UTF-8; half a surrogate pair becomes U+FFFD. */
export function encode(text) {
  if (encoder !== undefined) return encoder.encode(text);
  if (native !== undefined && text.length >= WORTH_A_CALL) return native.encode(text.toWellFormed());
  return Uint8Array.fromBase64(btoa(binaryOfText(text)));
}

/**
 * Many texts as UTF-8, one after the other. `ends` has the end of each in `bytes`, and begins
 * with a 0 before them.
 */
export function encodeAll(texts, ends) {
  const joined = texts.join("");
  let bytes;
  if (encoder !== undefined) {
    bytes = encoder.encode(joined);
    if (bytes.length === joined.length) return endsOf(texts, ends, bytes);
    // Half a surrogate pair at the end of one must not become a whole with the next.
    return concat(texts.map(encode), ends);
  }
  if (native !== undefined && joined.length >= WORTH_A_CALL && joined.isWellFormed()) {
    bytes = native.encode(joined);
    endsOf(texts, ends, bytes);
    if (bytes.length === joined.length) return bytes;
    const places = native.places(bytes, ends);
    // None where a pair of surrogates is cut in two.
    if (places === null) return concat(texts.map(encode), ends);
    ends.set(numbersOf(places));
    return bytes;
  }
  try {
    bytes = Uint8Array.fromBase64(btoa(joined));
    if (isAscii(bytes)) return endsOf(texts, ends, bytes);
  } catch {
    // A character above U+00FF.
  }
  const binaries = texts.map(binaryOfText);
  return endsOf(binaries, ends, Uint8Array.fromBase64(btoa(binaries.join(""))));
}

/** Numbers of 32 bits, as native code answers them. */
export function numbersOf(bytes) {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
}

function endsOf(texts, ends, bytes) {
  let end = 0;
  for (let i = 0; i < texts.length; i += 1) {
    end += texts[i].length;
    ends[i + 1] = end;
  }
  return bytes;
}

function concat(parts, ends) {
  let end = 0;
  for (let i = 0; i < parts.length; i += 1) {
    end += parts[i].length;
    ends[i + 1] = end;
  }
  const bytes = new Uint8Array(end);
  for (let i = 0; i < parts.length; i += 1) bytes.set(parts[i], ends[i]);
  return bytes;
}
