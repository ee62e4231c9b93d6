#!/bin/bash
# benchmarks/gpu/pack.sh: builds here, where nvcc is, all that run.sh wants, and packs it with its libraries into build/gpu.tar.gz, for a machine with a card that
# has neither compiler nor packages. CUDA's own libraries are not packed: they come with the card's machine.
set -eu
cd "$(dirname "$0")/../.."
# shellcheck source=benchmarks/gpu/lists.sh
. benchmarks/gpu/lists.sh
make -s all $(printf 'build/release/%s ' $TEST_PROGRAMS $BENCH_PROGRAMS)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/release/tests" "$folder/release/benchmarks" "$folder/lib"
for program in lethe $TEST_PROGRAMS $BENCH_PROGRAMS; do
    strip -o "$folder/release/$program" "build/release/$program"
done
# Opened at run time, so ldd does not name it.
openblas=$(ldconfig -p | awk '/libopenblas\.so\.0 / { print $NF; exit }')
for library in $(ldd "$folder/release/lethe" "$folder/release/tests/test_backend" ${openblas:+"$openblas"} | awk '$3 ~ /^\// { print $3 }' | sort -u) $openblas; do
    case ${library##*/} in libc.so* | libm.so* | libpthread* | ld-linux* | libdl.so* | librt.so*) continue ;; esac
    cp -L "$library" "$folder/lib/"
done
tar -C "$folder" -czf build/gpu.tar.gz release lib
echo "packed $(du -h build/gpu.tar.gz | cut -f 1) into build/gpu.tar.gz"
