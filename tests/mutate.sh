#!/bin/bash
# tests/mutate.sh [FILE...]: breaks the GPU kernels one small change at a time (tests/mutants.awk) and looks whether a test notices. Every mutant of every file of
# kernels/cuda, or of those named, is built and run under sim-race in a copy of the sources; the first test that fails catches it, and so does a build that does.
# MUTATE_JOBS: copies at work at once (default: all processors). Takes an hour or two. Exit 1 if one survives that tests/mutants_equivalent.tsv does not name, or
# if one is caught that it does.
set -u
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ $# -eq 0 ] && set -- kernels/cuda/*.cu kernels/cuda/*.h
export LETHE_TEST_DEVICE=cudasim LETHE_TEST_REDUCED=1 CMOCKA_MESSAGE_OUTPUT=STDOUT work

# The tests that run a file's kernels, the likeliest first. What kernels share is tried by all.
tests_of() {
    local attention="test_ops_cached test_ops_attn test_ops_attn_grad" rows="test_ops_block test_ops_grad test_ops_place test_ops_eltwise test_ops_dropout"
    local choice="test_ops_loss test_ops_sample test_ops_optim"
    case ${1##*/} in
    attn_grad*) echo test_ops_attn_grad ;;
    attn* | kv_write*) echo "$attention" ;;
    gemm* | blas*) echo "test_gemm" ;;
    linalg* | solver* | matrix*) echo "test_ops_linalg test_ops_linalg_promises" ;;
    xent* | loss* | logprob* | argmax* | sample* | optim* | softmax*) echo "$choice" ;;
    embed* | gather* | norm* | rope* | swiglu* | eltwise* | dropout* | bias* | sumsq* | rows* | quad*) echo "$rows" ;;
    *) echo "$rows $choice $attention test_gemm test_ops_linalg" ;;
    esac
}

# Builds and runs one mutant in copy $2: prints who caught it, or nothing.
try_mutant() { # MUTANT COPY
    local file line kind text test
    IFS=$'\t' read -r file line kind text <<<"$1"
    cd "$2" || exit 1
    for test in $(tests_of "$file"); do
        [ -f "tests/$test.c" ] || continue
        if ! make -s VARIANT=sim-race "build/sim-race/tests/$test" >build/mutant.log 2>&1; then
            echo "the build"
            return
        fi
        if ! timeout -k 5 300 "build/sim-race/tests/$test" >build/mutant.log 2>&1 </dev/null; then
            echo "$test"
            return
        fi
    done
}

# Every MUTATE_JOBS-th mutant, from one on, in a copy of its own.
work_through() { # NUMBER
    local copy=$work/$1 n=0 mutant file line kind text caught
    mkdir -p "$copy"
    cp -a Makefile core kernels model eval analysis cli tests tools "$copy" 2>/dev/null
    make -s -C "$copy" VARIANT=sim-race tests >"$work/build$1.log" 2>&1 || { echo "the sources do not build: $(tail -n 1 "$work/build$1.log")"; exit 1; }
    while IFS= read -r mutant; do
        n=$((n + 1))
        [ $(((n - 1) % jobs)) -eq "$1" ] || continue
        IFS=$'\t' read -r file line kind text <<<"$mutant"
        awk -v at="$line" -v text="${text//\\/\\\\}" 'NR == at { print text; next } { print }' "$file" >"$copy/$file"
        caught=$(try_mutant "$mutant" "$copy")
        cp "$file" "$copy/$file"
        printf '%s\t%s\n' "${caught:-survived}" "$mutant"
    done <"$work/mutants" >"$work/result$1"
}

awk -f tests/mutants.awk "$@" | awk -F '\t' '{ sub(/^ +/, "", $4) } 1' OFS='\t' >"$work/mutants"
export jobs=${MUTATE_JOBS:-$(nproc)}
export -f tests_of try_mutant work_through
seq 0 $((jobs - 1)) | xargs -P "$jobs" -I '{}' bash -c 'work_through {}' || exit 1

# Equivalents are named by file, kind and mutated line, with the reason why nothing can tell them apart.
cat "$work"/result* | awk -F '\t' '
    FILENAME != "-" { sub(/^ +/, "", $3); if ($0 !~ /^#/) known[$1 FS $2 FS $3] = 1; next }
    { n++; name = $2 FS $4 FS $5 }
    $1 == "survived" && !(name in known) { print "survived: " $2 ":" $3 " (" $4 "): " $5; bad++; next }
    $1 != "survived" && (name in known) { print "no equivalent, " $1 " caught it: " $2 ":" $3 ": " $5; bad++ }
    $1 == "survived" { same++ }
    END { printf "mutants: %d tried, %d caught, %d equivalent, %d wrong\n", n, n - same - bad, same, bad; exit bad > 0 }
' tests/mutants_equivalent.tsv -
