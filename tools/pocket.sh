#!/bin/bash
# tools/pocket.sh WORLD LETHE [quick]: makes the made-up world (a tiny random model, its tokenizer, a few rows of each task) under pocket/world and scores it
# into pocket/out. Then the spectrum of its weights: they are random, so that every rank is that of noise (r90/noise is 1).
set -eu
cd "$(dirname "$0")/.."
make_world=$1 lethe=$2 size=${3:-full}

rm -rf pocket/world pocket/out pocket/spectra
"$make_world" pocket/world
set -- score pocket/world/model --tasks hellaswag,arc_challenge,winogrande --data pocket/world/data --out pocket/out
[ "$size" = quick ] && set -- "$@" --limit 8
echo "\$ $lethe $*"
"$lethe" "$@"
echo
set -- spectrum pocket/world/model pocket/world/model --of weights --out pocket/spectra
echo "\$ $lethe $*"
"$lethe" "$@"
echo
echo "results: pocket/out/results.tsv (one row a checkpoint, task and metric), pocket/out/*/ (lm-eval's files), pocket/out/run.json"
echo "spectra: pocket/spectra/ranks.tsv (one row a matrix), pocket/spectra/spectra.tsv (singular values)"
