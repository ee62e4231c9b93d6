#!/bin/bash
# tests/fuzz/run.sh SEEDS [RUNS [NAME...]]: every libFuzzer target that `make fuzz` built (or those named), RUNS executions each (default
# 10000000), from the seeds that the program SEEDS writes and from tests/fuzz/corpus/. An input that breaks one is left in build/fuzz/found/.
# FUZZ_SECONDS: stop each after that long. FUZZ_JOBS: how many at once (default: all processors). How far each is: build/fuzz/log/.
set -u
cd "$(dirname "$0")/../.." || exit 1
seeds=$1 runs=${2:-10000000}
shift $(($# > 2 ? 2 : $#))
found=build/fuzz/found log=build/fuzz/log
mkdir -p "$found" "$log"
# In memory where that can be: some targets open a folder for every input.
[ -w /dev/shm ] && export TMPDIR=/dev/shm
TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
"$seeds" "$TMPDIR/seeds" || exit 1
if [ $# -eq 0 ]; then
    for program in build/fuzz/fuzz_*; do
        [ -x "$program" ] && set -- "$@" "${program##*/fuzz_}"
    done
fi

# An input costs by its length, and what is read here is small words in some order; but the longest seed has to fit, or it is cut. Texts go
# through three tokenizers, there and back.
max_len() { # NAME FOLDER...
    local least=2048
    [ "$1" = text ] && least=1024
    shift
    find "$@" -type f -printf '%s\n' | awk -v n=$least '$1 + 256 > n { n = $1 + 256 } END { print n }'
}

run_target() { # NAME
    local name=$1
    mkdir -p "$TMPDIR/new/$name"
    set -- "$TMPDIR/new/$name" "$TMPDIR/seeds/$name"
    [ -d "tests/fuzz/corpus/$name" ] && set -- "$@" "tests/fuzz/corpus/$name"
    # Limits: a second of reading that a small file causes, or a gigabyte, is a finding too.
    "build/fuzz/fuzz_$name" -runs="$runs" -max_total_time="${FUZZ_SECONDS:-0}" -max_len="$(max_len "$name" "${@:2}")" -len_control=20 \
        -timeout=10 -rss_limit_mb=1536 -malloc_limit_mb=1024 -seed=1 -print_final_stats=1 -artifact_prefix="$found/$name-" "$@" >"$log/fuzz_$name.log" 2>&1
    local code=$?
    awk -v name="$name" -v runs="$runs" -v code=$code '
        /^stat::number_of_executed_units/ { n = $2 }
        /^stat::average_exec_per_sec/ { rate = $2 }
        /^stat::slowest_unit_time_sec/ { slow = $2 }
        / cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") cov = $(i + 1) }
        END { printf "fuzz %s: %s: %d inputs of %d, %d a second, slowest %d s, %d edges\n", name, code == 0 ? "clean" : "FAILED", n, runs, rate, slow, cov }
    ' "$log/fuzz_$name.log"
    [ $code -eq 0 ] || grep -E 'ERROR|runtime error|lethe: bug|Test unit written' "$log/fuzz_$name.log" | head -n 6 | sed 's/^/    /'
    return $code
}

export seeds runs found log
export -f max_len run_target
[ $# -eq 0 ] && exit 0
printf '%s\n' "$@" | xargs -P "${FUZZ_JOBS:-$(nproc)}" -I '{}' bash -c 'run_target {}' | tee "$TMPDIR/report"
awk '
    /^fuzz / { n_target++; n += $4; bad += $3 != "clean:" }
    END { printf "fuzz: %d targets, %d inputs, %d failed\n", n_target, n, bad; exit bad > 0 }
' "$TMPDIR/report"
