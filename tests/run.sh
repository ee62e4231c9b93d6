#!/bin/bash
# tests/run.sh VARIANT [TEST...]: runs the built test programs of a variant and counts their tests.
#
# Last line: "N passed, N failed, N skipped". Exit 1 if any failed. A program that crashes, runs longer than LETHE_TEST_TIMEOUT seconds
# (default 600) or reports no test at all counts as one failure more. Logs: build/VARIANT/log/.
set -u
cd "$(dirname "$0")/.." || exit 1

variant=${1:-release}
shift
build=build/$variant
limit=${LETHE_TEST_TIMEOUT:-600}
log_folder=$build/log
mkdir -p "$log_folder"

export LETHE_BINARY=${LETHE_BINARY:-$PWD/$build/lethe}
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

# The simulated GPU, in the variants that have it.
case $variant in sim*) export LETHE_TEST_DEVICE=cudasim ;; esac

[ $# -eq 0 ] && set -- $(make -s --no-print-directory "VARIANT=$variant" names)

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
for name in "$@"; do
    program=$build/tests/$name
    log=$log_folder/$name.log
    if [ ! -x "$program" ]; then
        echo "$name: FAILED: $program is not built"
        failed=$((failed + 1))
        continue
    fi
    began=$SECONDS
    { timeout -k 10 "$limit" "$program" >"$log" 2>&1 </dev/null; } 2>/dev/null
    code=$?
    read -r p f s <<<"$(count_lines "$log" 2>"$log.skips")"
    trouble=
    if [ $code -eq 124 ] || [ $code -eq 137 ]; then
        trouble="longer than $limit s"
    elif [ $code -ne 0 ] && [ "$f" -eq 0 ]; then
        trouble="ended with code $code"
    elif [ $((p + f + s)) -eq 0 ]; then
        trouble="ran no test"
    fi
    [ -n "$trouble" ] && f=$((f + 1))
    echo "$name: $p passed, $f failed, $s skipped ($((SECONDS - began)) s)"
    cat "$log.skips"
    rm -f "$log.skips"
    if [ "$f" -gt 0 ]; then
        [ -n "$trouble" ] && echo "    FAILED: $name: $trouble"
        show_trouble "$log"
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
