#!/bin/bash
# tools/pocket.sh WORLD LETHE [quick]: makes the made-up world (a tiny random model, its tokenizer, a few rows of each task) under pocket/world and scores it
# into pocket/out.
set -eu
cd "$(dirname "$0")/.."
make_world=$1 lethe=$2 size=${3:-full}

rm -rf pocket/world pocket/out
"$make_world" pocket/world
set -- score pocket/world/model --tasks hellaswag,arc_challenge,winogrande --data pocket/world/data --out pocket/out
[ "$size" = quick ] && set -- "$@" --limit 8
echo "\$ $lethe $*"
"$lethe" "$@"
echo
echo "results: pocket/out/results.tsv (one row a checkpoint, task and metric), pocket/out/*/ (lm-eval's files), pocket/out/run.json"
