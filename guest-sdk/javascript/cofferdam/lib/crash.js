// What is told of an exception that nobody caught: its message, the record in hand, and the lines
// of the author's own files. The bundle's lines are mapped back by its source map, which
// `build.mjs` puts behind it, and which nothing reads before something is thrown.

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** The mappings of one line of the bundle: `[column, source, line, column]`, all from 0. */
function mappingsOf(map, line) {
  let [source, sourceLine, sourceColumn] = [0, 0, 0];
  let found = [];
  const lines = map.mappings.split(";");
  for (let l = 0; l <= line && l < lines.length; l += 1) {
    let column = 0;
    found = [];
    for (const segment of lines[l].split(",")) {
      if (segment === "") continue;
      const numbers = numbersOf(segment);
      column += numbers[0];
      if (numbers.length < 4) continue;
      source += numbers[1];
      sourceLine += numbers[2];
      sourceColumn += numbers[3];
      found.push([column, source, sourceLine, sourceColumn]);
    }
  }
  return found;
}

function numbersOf(segment) {
  const numbers = [];
  let [value, shift] = [0, 0];
  for (const digit of segment) {
    const bits = DIGITS.indexOf(digit);
    value |= (bits & 31) << shift;
    shift += 5;
    if (bits & 32) continue;
    numbers.push(value & 1 ? -(value >>> 1) : value >>> 1);
    [value, shift] = [0, 0];
  }
  return numbers;
}

/** Where a line and column of the bundle (from 1) stand in the sources; undefined if nowhere. */
export function sourceOf(map, line, column) {
  let best;
  for (const mapping of mappingsOf(map, line - 1)) {
    if (mapping[0] <= column - 1 || best === undefined) best = mapping;
  }
  return best && { file: map.sources[best[1]], line: best[2] + 1, column: best[3] + 1 };
}

/** A stack with the lines of the sources, without those of the SDK. */
export function mapStack(stack, map) {
  const lines = [];
  for (const line of String(stack ?? "").split("\n")) {
    const frame = /^\s*(?:at )?(.*?)[ @]?\(?([^ (@]*):(\d+):(\d+)\)?$/.exec(line);
    if (frame === null || map === undefined) {
      if (line.trim() !== "") lines.push(line.trimEnd());
      continue;
    }
    const place = sourceOf(map, Number(frame[3]), Number(frame[4]));
    if (place === undefined || place.file.startsWith("cofferdam/") || place.file.startsWith("build/")) continue;
    const where = `${place.file}:${place.line}:${place.column}`;
    lines.push(`    at ${frame[1] === "" ? where : `${frame[1]} (${where})`}`);
  }
  return lines.join("\n");
}

/** All that is told of what was thrown. */
export function reportOf(error, record, map = globalThis.__cofferdam_source_map) {
  const where = record >= 0 ? ` (record ${record} of the batch)` : "";
  if (!(error instanceof Error)) return `thrown: ${typeof error === "string" ? error : JSON.stringify(error) ?? String(error)}${where}`;
  let report = `${error.name}: ${error.message}${where}`;
  const stack = mapStack(stackOf(error), map);
  if (stack !== "") report += `\n${stack}`;
  for (let cause = error.cause, i = 0; cause instanceof Error && i < 4; cause = cause.cause, i += 1) {
    report += `\ncaused by ${cause.name}: ${cause.message}`;
    const frames = mapStack(stackOf(cause), map);
    if (frames !== "") report += `\n${frames}`;
  }
  return report;
}

/** The frames alone: V8 begins a stack with the message. */
function stackOf(error) {
  const stack = String(error.stack ?? "");
  const head = `${error.name}: ${error.message}`;
  return stack.startsWith(head) ? stack.slice(head.length) : stack;
}
