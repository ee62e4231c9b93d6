#!/bin/bash
# benchmarks/gpu/run.sh [--quick] [DEVICE]: everything that wants a card, on DEVICE (default cuda): the tests of ops, models, generation and invariance, the
# sanitizers on small shapes, the ceilings and every op's share of its floor at the shapes of a 1B and a 7B model, decoding and scoring rates, and the same work
# by PyTorch where it is. Prints a table and leaves benchmarks/results/<date>-<gpu>-{tests,1b,7b,rates,peers}.json.
# 9 minutes, --quick 3: what does not get its turn is named. Builds first where there is a compiler; elsewhere it takes what pack.sh packed.
set -u
cd "$(dirname "$0")/../.." || exit 1
quick=0
[ "${1:-}" = --quick ] && { quick=1; shift; }
device=${1:-cuda} began=$SECONDS budget=$((quick ? 180 : 540))
# shellcheck source=benchmarks/gpu/lists.sh
. benchmarks/gpu/lists.sh
export LETHE_TEST_DEVICE=$device LETHE_TEST_REDUCED=1 CMOCKA_MESSAGE_OUTPUT=STDOUT OMP_WAIT_POLICY=passive
results=benchmarks/results work=$(mktemp -d)
mkdir -p "$results"
trap 'rm -rf "$work"' EXIT

if [ -f build/gpu.tar.gz ] && ! command -v make >/dev/null; then
    tar -C build -xzf build/gpu.tar.gz && export LD_LIBRARY_PATH=$PWD/build/lib:${LD_LIBRARY_PATH:-}
elif [ -f build/gpu.tar.gz ] && ! make -s found >/dev/null 2>&1; then
    tar -C build -xzf build/gpu.tar.gz && export LD_LIBRARY_PATH=$PWD/build/lib:${LD_LIBRARY_PATH:-}
else
    make -s all $(printf 'build/release/%s ' $TEST_PROGRAMS $BENCH_PROGRAMS) || exit 1
fi

gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1 | tr ' /' '--')
gpu=${gpu:-$device}
name=$results/$(date +%Y-%m-%d)-$gpu
left() { echo $((budget - (SECONDS - began))); }

# A step that may take so many seconds and is named if its turn does not come or it fails.
step() { # SECONDS NAME COMMAND...
    local limit=$1 what=$2 code
    shift 2
    [ "$(left)" -lt 5 ] && { echo "== $what: no time left"; return 1; }
    [ "$limit" -gt "$(left)" ] && limit=$(left)
    echo "== $what ($((SECONDS - began)) s)"
    timeout -k 5 "$limit" "$@"
    code=$?
    [ $code -eq 0 ] || echo "== $what: ended with code $code$([ $code -eq 124 ] && echo " after $limit s")"
    return $code
}

echo "{\"gpu\": \"$gpu\", \"driver\": \"$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1)\", \"programs\": [" >"$work/tests"
for program in $TEST_PROGRAMS; do
    step $((quick ? 20 : 60)) "$program" "build/release/$program" >"$work/log" 2>&1
    code=$?
    passed=$(grep -c '^\[       OK' "$work/log") failed=$(grep -c '^\[  FAILED  \] test' "$work/log")
    echo "$program: $passed passed, code $code"
    [ $code -eq 0 ] || tail -n 40 "$work/log" | sed 's/^/    /'
    echo "  {\"program\": \"$program\", \"passed\": $passed, \"failed\": $failed, \"code\": $code}," >>"$work/tests"
done
echo '  {}]}' >>"$work/tests"
cp "$work/tests" "$name-tests.json"

# The card's own view of the small shapes.
if [ $quick -eq 0 ] && command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck; do
        for program in test_ops_block test_ops_loss test_ops_cached; do
            step 40 "$tool $program" compute-sanitizer --tool $tool --error-exitcode 9 "build/release/tests/$program" >"$work/log" 2>&1 || tail -n 20 "$work/log"
        done
    done
fi

shapes="7b"
[ $quick -eq 0 ] && shapes="1b 7b"
for shape in $shapes; do
    step 90 "ops, $shape" build/release/benchmarks/bench_ops --device "$device" --shape "$shape" --json "$name-$shape.json"
done

{
    for model in 1b $([ $quick -eq 0 ] && echo 7b); do
        step 80 "decoding, $model" build/release/benchmarks/bench_generate --device "$device" --model "$model" --new 64
        step 60 "scoring, $model" build/release/benchmarks/bench_score --device "$device" --model "$model" --seconds 10
    done
} 2>&1 | tee "$work/rates"
awk 'BEGIN { print "[" } { gsub(/["\\]/, "\\\\&"); printf "%s  \"%s\"", (NR > 1 ? ",\n" : ""), $0 } END { print "\n]" }' "$work/rates" >"$name-rates.json"

if python3 -c 'import torch' 2>/dev/null; then
    step 90 "peers" python3 benchmarks/gpu/peers.py --json "$name-peers.json"
else
    echo "== peers: no PyTorch here"
fi
echo "== $((SECONDS - began)) s; results: $name-*.json"
