#!/bin/sh
# Builds the guests of this directory: `build.sh TOOLS OUT`. TOOLS has `npm` and `py`,
# where README.md says how the tools get there; OUT gets the components. A language whose
# tool is not there is left out. With `--stub-wasi`, the JavaScript guest would define
# resources of its own, which are not saved.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tools=$1
out=$2
wit="$here/../../wit"
mkdir -p "$out"
if [ -x "$tools/npm/node_modules/.bin/componentize-qjs" ]; then
    "$tools/npm/node_modules/.bin/componentize-qjs" --sync --wit "$wit" \
        --world processor-operator --js "$here/count.js" --output "$out/count-js.wasm"
else
    echo "no componentize-qjs: no JavaScript guest"
fi
if [ -x "$tools/py/bin/componentize-py" ]; then
    (cd "$here" && "$tools/py/bin/componentize-py" --wit-path "$wit" --world processor-operator \
        componentize count_py --stub-wasi --output "$out/count-py.wasm")
else
    echo "no componentize-py: no Python guest"
fi
