#!/bin/bash
# tests/run.sh VARIANT[+VARIANT...] [TEST...]: runs the built test programs of the variants and counts their tests.
#
# Last line: "N passed, N failed, N skipped". Exit 1 if any failed. A program that crashes, runs longer than LETHE_TEST_TIMEOUT seconds
# (default 600) or reports no test at all counts as one failure more. Logs: build/VARIANT/log/.
set -u
cd "$(dirname "$0")/.." || exit 1

variants=${1:-release}
shift
limit=${LETHE_TEST_TIMEOUT:-600}

export LETHE_TEST_DATA=${LETHE_TEST_DATA:-$(cd .. && pwd)/shared}
export CMOCKA_MESSAGE_OUTPUT=STDOUT
# A test must not find, or leave, anything in the cache of whoever runs it.
LETHE_CACHE=$(mktemp -d)
export LETHE_CACHE
trap 'rm -rf "$LETHE_CACHE"' EXIT
# Reports of the sanitizers must fail the test they belong to; what oneDNN keeps until exit is no leak of ours.
export ASAN_OPTIONS=${ASAN_OPTIONS:-strict_string_checks=1}
export LSAN_OPTIONS=${LSAN_OPTIONS:-suppressions=$PWD/tests/leak_suppressions.txt:print_suppressions=0}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-suppressions=$PWD/tests/race_suppressions.txt:halt_on_error=1}

# cmocka's lines up to its summary (which lists the failed ones again); a SKIP line holds the reason of the skip that follows it.
count_lines() {
    awk '
        /^\[==========\] .*run\.$/ { exit }
        /^SKIP: / { reason = substr($0, 7) }
        /^\[ RUN      \]/ { reason = "" }
        /^\[       OK \]/ { passed++ }
        /^\[  FAILED  \]/ { failed++ }
        /^\[  SKIPPED \]/ { skipped++; printf "    skipped: %s: %s\n", $4, (reason == "" ? "no reason given" : reason) > "/dev/stderr" }
        END { print passed + 0, failed + 0, skipped + 0 }
    ' "$1"
}

# The log without the tests that passed.
show_trouble() {
    awk '
        /^\[ RUN      \]/ { run = $0; next }
        /^\[       OK \]/ { run = ""; next }
        run != "" { print run; run = "" }
        { print }
        END { if (run != "") print run }
    ' "$1" | head -n 80 | sed 's/^/    /'
}

passed=0 failed=0 skipped=0

# Simulated GPU: every launch of an op's tests runs under every order of threads, but where the sanitizers make one run long enough.
run_program() { # VARIANT TEST -> log, and "code seconds" beside it
    local log=build/$1/log/$2.log settings=("LETHE_BINARY=${LETHE_BINARY:-$PWD/build/$1/lethe}") began=$SECONDS code
    case $1 in sim*) settings+=(LETHE_TEST_DEVICE=cudasim) ;; esac
    case $1/$2 in sim/test_ops_* | sim/test_gemm) settings+=("LETHE_SIM_ORDER=${LETHE_SIM_ORDER:-all}") ;; esac
    { env "${settings[@]}" timeout -k 10 "$limit" "build/$1/tests/$2" >"$log" 2>&1 </dev/null; } 2>/dev/null
    code=$?
    echo "$code $((SECONDS - began))" >"$log.end"
}

report_program() { # VARIANT TEST LABEL
    local log=build/$1/log/$2.log label=$3 code seconds p f s trouble=
    read -r code seconds <"$log.end"
    read -r p f s <<<"$(count_lines "$log" 2>"$log.skips")"
    if [ "$code" -eq 124 ] || [ "$code" -eq 137 ]; then
        trouble="longer than $limit s"
    elif [ "$code" -ne 0 ] && [ "$f" -eq 0 ]; then
        trouble="ended with code $code"
    elif [ $((p + f + s)) -eq 0 ]; then
        trouble="ran no test"
    fi
    [ -n "$trouble" ] && f=$((f + 1))
    echo "$label: $p passed, $f failed, $s skipped ($seconds s)"
    cat "$log.skips"
    rm -f "$log.skips" "$log.end"
    if [ "$f" -gt 0 ]; then
        [ -n "$trouble" ] && echo "    FAILED: $label: $trouble"
        show_trouble "$log"
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

# The simulator's tests use one processor each and measure no time: as many at once as there are processors. The others one by one.
run_variant() { # VARIANT [TEST...]
    local variant=$1 name label= at_once=1
    shift
    [ $# -eq 0 ] && set -- $(make -s --no-print-directory "VARIANT=$variant" names)
    mkdir -p "build/$variant/log"
    case $variants in *+*) label="$variant " ;; esac
    case $variant in sim*) at_once=$(nproc) ;; esac
    for name in "$@"; do
        while [ "$(jobs -rp | wc -l)" -ge "$at_once" ]; do
            wait -n
        done
        run_program "$variant" "$name" &
        [ "$at_once" -eq 1 ] && wait && report_program "$variant" "$name" "$label$name"
    done
    wait
    [ "$at_once" -eq 1 ] && return
    for name in "$@"; do
        report_program "$variant" "$name" "$label$name"
    done
}

for variant in ${variants//+/ }; do
    run_variant "$variant" "$@"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
