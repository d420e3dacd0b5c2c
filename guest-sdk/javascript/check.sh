#!/bin/sh
# Runs the operators' native tests, each in a project of its own: `check.sh [javascript|typescript]`.
# TypeScript needs esbuild in the path.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
lang=${1:-javascript}
ext=js
[ "$lang" = typescript ] && ext=ts
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for file in "$here/../$lang"/operators/*_test.$ext; do
    kind=$(basename "$file" _test.$ext)
    project="$work/$kind"
    mkdir -p "$project/src" "$project/tests"
    cp -r "$here/cofferdam" "$project/cofferdam"
    [ "$lang" = typescript ] && cp -r "$here/../typescript/cofferdam/." "$project/cofferdam"
    printf '{"private":true,"type":"module"}\n' > "$project/package.json"
    cp "$here/../$lang/operators/$kind.$ext" "$project/src/operator.$ext"
    cp "$file" "$project/tests/operator.test.$ext"
    echo "== $kind"
    if [ "$lang" = typescript ]; then
        (cd "$project" && node cofferdam/run-tests.mjs)
    else
        (cd "$project" && node --test --test-reporter=dot tests/)
    fi
done
