#!/usr/bin/env node
// Runs the project's own tests: `node cofferdam/run-tests.mjs`, in the project's folder. Bundles
// each `*.test.ts` of `src/` and `tests/` with esbuild, and runs them with Node.js's test runner,
// which tells lines of the TypeScript files. Types are checked by `tsc --noEmit`, not here.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";

const OUT = "build/tests";

const places = [resolve("node_modules/.bin"), ...(process.env.PATH ?? "").split(delimiter)];
const esbuild = places.map((place) => join(place, "esbuild")).find((path) => existsSync(path));
if (esbuild === undefined) {
  console.error("error: no esbuild: install it with `npm install`");
  process.exit(1);
}
const tests = ["src", "tests"]
  .filter((folder) => existsSync(folder))
  .flatMap((folder) => readdirSync(folder, { recursive: true }).map((name) => join(folder, name)))
  .filter((name) => name.endsWith(".test.ts"));
if (tests.length === 0) {
  console.error("error: there is no *.test.ts in src/ or tests/");
  process.exit(1);
}
rmSync(OUT, { recursive: true, force: true });
mkdirSync(OUT, { recursive: true });
const run = (command, args) => spawnSync(command, args, { stdio: "inherit" }).status ?? 1;
const bundled = run(esbuild, [
  ...tests, "--bundle", "--format=esm", "--platform=node", "--target=node20", "--sourcemap", "--log-level=warning",
  "--packages=external", `--outdir=${OUT}`, "--outbase=.", "--out-extension:.js=.mjs",
]);
if (bundled !== 0) process.exit(bundled);
const made = tests.map((name) => join(OUT, name.replace(/\.ts$/, ".mjs")));
process.exit(run(process.execPath, ["--enable-source-maps", "--test", ...made, ...process.argv.slice(2)]));
