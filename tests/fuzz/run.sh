#!/bin/bash
# tests/fuzz/run.sh SEEDS [RUNS [NAME...]]: every libFuzzer target that `make fuzz` built (or those named), RUNS executions each (default
# 10000000), from the seeds that the program SEEDS writes and from tests/fuzz/corpus/. An input that breaks one is left in build/fuzz/found/.
# FUZZ_SECONDS: stop each after that long. FUZZ_JOBS: how many at once (default: all processors).
set -u
cd "$(dirname "$0")/../.." || exit 1
seeds=$1 runs=${2:-10000000}
shift $(($# > 2 ? 2 : $#))
found=build/fuzz/found log=build/fuzz/log
mkdir -p "$found" "$log"
TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
"$seeds" "$TMPDIR/seeds" || exit 1
if [ $# -eq 0 ]; then
    for program in build/fuzz/fuzz_*; do
        [ -x "$program" ] && set -- "$@" "${program##*/fuzz_}"
    done
fi

run_target() { # NAME
    local name=$1
    mkdir -p "$TMPDIR/new/$name"
    set -- "$TMPDIR/new/$name" "$TMPDIR/seeds/$name"
    [ -d "tests/fuzz/corpus/$name" ] && set -- "$@" "tests/fuzz/corpus/$name"
    # Limits: a second of reading that a small file causes, or a gigabyte, is a finding too.
    "build/fuzz/fuzz_$name" -runs="$runs" -max_total_time="${FUZZ_SECONDS:-0}" -max_len=4096 -len_control=20 -timeout=10 -rss_limit_mb=1536 \
        -malloc_limit_mb=1024 -seed=1 -print_final_stats=1 -artifact_prefix="$found/$name-" "$@" >"$log/fuzz_$name.log" 2>&1
    local code=$?
    awk -v name="$name" -v code=$code '
        /^stat::number_of_executed_units/ { n = $2 }
        /^stat::average_exec_per_sec/ { rate = $2 }
        /^stat::slowest_unit_time_sec/ { slow = $2 }
        / cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") cov = $(i + 1) }
        END { printf "fuzz %s: %s: %d inputs, %d a second, slowest %d s, %d edges\n", name, code == 0 ? "clean" : "FAILED", n, rate, slow, cov }
    ' "$log/fuzz_$name.log"
    [ $code -eq 0 ] || grep -E 'ERROR|SUMMARY|Test unit written|our mistake' "$log/fuzz_$name.log" | head -n 6 | sed 's/^/    /'
    return $code
}

export seeds runs found log
export -f run_target
[ $# -eq 0 ] && exit 0
printf '%s\n' "$@" | xargs -P "${FUZZ_JOBS:-$(nproc)}" -I '{}' bash -c 'run_target {}'
