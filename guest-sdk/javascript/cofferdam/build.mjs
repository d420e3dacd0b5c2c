#!/usr/bin/env node
// Builds the operator's component: `node cofferdam/build.mjs`, in the project's folder. Bundles
// with esbuild, and has QuickJS (componentize-qjs) or StarlingMonkey (componentize-js) run the
// bundle once, so that the component begins where that ended. `cofferdam operator build` calls it.
//
//   --entry FILE     the operator: src/operator.js, or src/operator.ts if there is no such
//   --world WORLD    of cofferdam/wit: processor-operator if not given
//   --engine ENGINE  quickjs if not given, or starlingmonkey
//   --out FILE       build/operator.wasm if not given

import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { mapStack } from "./lib/crash.js";
import { PACKAGE, linked } from "./lib/link.mjs";

const { values: options } = parseArgs({
  options: {
    entry: { type: "string", default: existsSync("src/operator.js") ? "src/operator.js" : "src/operator.ts" },
    world: { type: "string", default: "processor-operator" },
    engine: { type: "string", default: "quickjs" },
    out: { type: "string", default: "build/operator.wasm" },
  },
});

const here = fileURLToPath(new URL(".", import.meta.url));

/** What the exports of each world are called in JavaScript. */
const EXPORTS = {
  "processor-operator": ["processor"],
  "stateful-operator": ["processor", "snapshot"],
  "keyed-operator": ["keyedProcessor"],
  "checked-keyed-operator": ["keyedProcessor", "stateCheck"],
  "session-operator": ["keyedProcessor", "sessionMerge"],
  "checked-session-operator": ["keyedProcessor", "sessionMerge", "stateCheck"],
};

/** What each interface's exports come of, for an author who has left it out. */
const METHODS = {
  processor: "`process` (extend Processor)",
  snapshot: "`snapshot` and `restore`",
  keyedProcessor: "`fold` (extend KeyedProcessor)",
  sessionMerge: "`merge`",
  stateCheck: "`check`",
};

const ENGINES = {
  quickjs: {
    tool: "componentize-qjs",
    install: "npm install -D componentize-qjs@0.4.5",
    imports: [
      ...["log", "config", "metrics"].map((name) => `import ${name} from "cofferdam:operator/${name}";`),
      `import columns from "${PACKAGE}/columns";`,
    ],
    // An error that is no text cannot be told to the host, which ends the instance.
    trap: "() => { throw { payload: 0 }; }",
    args: (bundle, folder) => [
      "--sync", "--stub-wasi", "--wit", writeWorld(folder), "--world", "made", "--js", bundle, "--output", options.out,
    ],
    finish: () => {
      const language = options.entry.endsWith(".ts") ? "TypeScript" : "JavaScript";
      writeFileSync(options.out, linked(readFileSync(options.out), language, ["QuickJS", "componentize-qjs"]));
    },
  },
  starlingmonkey: {
    tool: "componentize-js",
    install: "npm install -D @bytecodealliance/componentize-js@0.23.0 @bytecodealliance/preview2-shim@0.17.9",
    imports: [
      ...["log", "config", "metrics"].map((name) => `import * as ${name} from "cofferdam:operator/${name}@0.1.0";`),
      "const columns = undefined;",
    ],
    trap: "(error) => { throw error; }",
    args: (bundle) => [
      bundle, "--wit", join(here, "wit"), "--world-name", options.world, "--out", options.out,
      "--disable", "stdio", "random", "clocks", "http", "fetch-event",
    ],
    finish: () => {},
  },
};

function fail(message) {
  console.error(`error: ${message}`);
  process.exit(1);
}

/** A program of the project, or of the machine. */
function program(name, install) {
  const places = [resolve("node_modules/.bin"), ...(process.env.PATH ?? "").split(delimiter)];
  const found = places.map((place) => join(place, name)).find((path) => existsSync(path));
  return found ?? fail(`no ${name}: install it with \`${install}\``);
}

function run(command, args, explain = (said) => said) {
  const { status, error, stdout, stderr } = spawnSync(command, args, { encoding: "utf8" });
  if (error) fail(`${command} cannot be run: ${error.message}`);
  if (status !== 0) {
    process.stderr.write(`${explain(`${stdout}${stderr}`).trimEnd()}\n`);
    process.exit(1);
  }
}

/** What the engine says of a file that throws when it is run at build, with the author's lines. */
function thrownAtBuild(said, table) {
  const thrown = /Failed to evaluate user JavaScript module: (?:Failed to finish JavaScript module evaluation: )?([^\n]*)\n([^]*)/.exec(said);
  if (thrown === null) return said;
  const stack = mapStack(thrown[2], table);
  return `error: ${options.entry} cannot be run: ${thrown[1].replace(/^Error: /, "")}${stack === "" ? "" : `\n${stack}`}`;
}

function writeEntry(engine, folder, worlds) {
  const to = (path) => JSON.stringify(`./${relative(folder, path)}`);
  const names = EXPORTS[worlds] ?? fail(`no world \`${worlds}\`; there are ${Object.keys(EXPORTS).join(", ")}`);
  const checks = names.map((name) => `if (found.${name} === undefined) throw new TypeError(${JSON.stringify(`the world ${worlds} needs ${METHODS[name]}`)});`);
  const lines = [
    "// Made by cofferdam/build.mjs: the exports of the component.",
    `import Operator from ${to(options.entry)};`,
    `import { exportsOf } from ${to(join(here, "lib/component.js"))};`,
    ...engine.imports,
    `const found = exportsOf(Operator, { log, config, metrics, columns }, ${engine.trap});`,
    ...checks,
    `export const { ${names.join(", ")} } = found;`,
  ];
  const path = join(folder, "entry.js");
  writeFileSync(path, `${lines.join("\n")}\n`);
  return path;
}

/** The world of the contract, with what is linked in as an import; says where it is. */
function writeWorld(folder) {
  const [wit, made] = [join(here, "wit"), join(folder, "wit")];
  rmSync(made, { recursive: true, force: true });
  cpSync(wit, join(made, "deps/operator"), { recursive: true });
  const [, contract, version] = /^package ([^@;]+)(@[^;]+)?;/m.exec(readFileSync(join(wit, "world.wit"), "utf8"));
  const world = `world made {\n  import columns;\n  include ${contract}/${options.world}${version ?? ""};\n}\n`;
  writeFileSync(join(made, "made.wit"), `package ${PACKAGE};\n\n${readFileSync(join(here, "lib/columns.wit"), "utf8")}\n${world}`);
  return made;
}

/**
 * The table of lines that lib/crash.js reads, of a source map's mappings: those of the SDK and of
 * what was made here are left out.
 */
function linesOf(sources, mappings) {
  const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const theirs = sources.map((source) => ![here, resolve("build")].some((folder) => resolve(source).startsWith(folder)));
  const lines = [];
  let [source, line, column] = [0, 0, 0];
  mappings.split(";").forEach((segments, i) => {
    const found = [];
    let at = 0;
    for (const segment of segments.split(",")) {
      const numbers = [];
      let [value, shift] = [0, 0];
      for (const digit of segment) {
        const bits = digits.indexOf(digit);
        value |= (bits & 31) << shift;
        shift += 5;
        if (bits & 32) continue;
        numbers.push(value & 1 ? -(value >>> 1) : value >>> 1);
        [value, shift] = [0, 0];
      }
      if (numbers.length < 4) continue;
      at += numbers[0];
      source += numbers[1];
      line += numbers[2];
      column += numbers[3];
      if (theirs[source]) found.push(at + 1, source, line + 1, column + 1);
    }
    if (found.length > 0) lines.push([i + 1, found]);
  });
  return [sources, lines];
}

/** What esbuild says, with advice that helps here. */
function advised(said) {
  if (said.includes(`No matching export in "${options.entry}" for import "default"`)) {
    return `error: ${options.entry} has no \`export default\`: it must be the operator, a class that extends Processor or KeyedProcessor`;
  }
  return said
    .replace(/  The package "([^"\n]+)" wasn't found on the file system but is built into node\.[^\n]*/g, "  `$1` is a part of Node.js, and not there in the sandbox.")
    .replace(/  You can mark the path "((?!\.)[^"\n]+)" as external[^\n]*/g, "  If it is a package: `npm install $1`.");
}

/** Bundles, and puts the table of lines behind the bundle, where a crash looks for it. */
function bundle(entry, folder) {
  const path = join(folder, "bundle.js");
  const esbuild = program("esbuild", "npm install -D esbuild@0.28.2");
  run(esbuild, [
    entry, "--bundle", "--format=esm", "--platform=neutral", "--main-fields=module,main", "--target=es2023",
    "--charset=utf8", "--external:cofferdam:*", "--sourcemap=external", "--sources-content=false",
    "--log-level=warning", `--outfile=${path}`,
  ], advised);
  const map = JSON.parse(readFileSync(`${path}.map`, "utf8"));
  const sources = map.sources.map((source) => relative(".", resolve(folder, source)));
  const text = readFileSync(path, "utf8");
  const table = linesOf(sources, map.mappings);
  writeFileSync(path, `${text}globalThis.__cofferdam_lines = ${JSON.stringify(JSON.stringify(table))};\n`);
  return { path, table };
}

const engine = ENGINES[options.engine] ?? fail(`engine \`${options.engine}\`: there are ${Object.keys(ENGINES).join(" and ")}`);
if (!existsSync(options.entry)) fail(`no ${options.entry}: the operator's class is expected there`);
const folder = join(dirname(options.out), "bundle");
mkdirSync(folder, { recursive: true });
const { path, table } = bundle(writeEntry(engine, folder, options.world), folder);
const tool = program(engine.tool, engine.install);
run(tool, engine.args(path, folder), (said) => thrownAtBuild(said, table));
engine.finish();
