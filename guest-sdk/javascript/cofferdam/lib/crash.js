// What is told of an exception that nobody caught: its message, the record in hand, and the lines
// of the author's own files. `build.mjs` puts a table of these behind the bundle, which nothing
// reads before something is thrown.

/**
 * Where a line and column of the bundle (from 1) stand in the sources; undefined for what is not
 * the author's. The table is `[files, [[line, [column, file, line, column, …]], …]]`.
 */
export function sourceOf([files, lines], line, column) {
  const found = lines.find(([known]) => known === line)?.[1];
  if (found === undefined) return undefined;
  let at = 0;
  while (at + 4 < found.length && found[at + 4] <= column) at += 4;
  return { file: files[found[at + 1]], line: found[at + 2], column: found[at + 3] };
}

/** A stack with the lines of the sources, without those of the SDK. */
export function mapStack(stack, table) {
  const lines = [];
  for (const line of String(stack ?? "").split("\n")) {
    const frame = /^\s*(?:at )?(.*?)[ @]?\(?([^ (@]*):(\d+):(\d+)\)?$/.exec(line);
    if (frame === null || table === undefined) {
      if (line.trim() !== "") lines.push(line.trimEnd());
      continue;
    }
    const place = sourceOf(table, Number(frame[3]), Number(frame[4]));
    if (place === undefined) continue;
    const where = `${place.file}:${place.line}:${place.column}`;
    lines.push(`    at ${frame[1] === "" ? where : `${frame[1]} (${where})`}`);
  }
  return lines.join("\n");
}

/** All that is told of what was thrown. */
export function reportOf(error, record, text = globalThis.__cofferdam_lines) {
  const table = text === undefined ? undefined : JSON.parse(text);
  const where = record >= 0 ? ` (record ${record} of the batch)` : "";
  // What QuickJS throws when there is no room for an error.
  if (error === null) return `out of memory, or \`throw null\`${where}`;
  if (!(error instanceof Error)) return `thrown: ${typeof error === "string" ? error : JSON.stringify(error) ?? String(error)}${where}`;
  let report = `${error.name}: ${error.message}${where}`;
  const stack = mapStack(stackOf(error), table);
  if (stack !== "") report += `\n${stack}`;
  for (let cause = error.cause, i = 0; cause instanceof Error && i < 4; cause = cause.cause, i += 1) {
    report += `\ncaused by ${cause.name}: ${cause.message}`;
    const frames = mapStack(stackOf(cause), table);
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
