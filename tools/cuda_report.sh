#!/bin/bash
# tools/cuda_report.sh NVCC OBJECT...: registers, shared memory and spilled bytes of every kernel, per architecture, as the compiler placed them.
# A local array that did not fit into registers counts as spilled too: both are STACK. Dynamic shared memory is asked for at the launch and not here.
set -eu
nvcc=$1
shift
if [ -z "$nvcc" ]; then
    echo "cuda-report: no nvcc (CUDA_HOME, /usr/local/cuda, PATH)" >&2
    exit 1
fi
tools=$(dirname "$nvcc")
printf '%-7s %9s %9s %9s  %s\n' target registers shared spilled kernel
for object in "$@"; do
    "$tools/cuobjdump" --dump-resource-usage "$object" 2>/dev/null
done | awk '
    /^arch = / { arch = $3 }
    /^ *Function / { name = $2; sub(/:$/, "", name) }
    /REG:/ {
        for (i = 1; i <= NF; i++) {
            split($i, part, ":")
            value[part[1]] = part[2]
        }
        printf "%-7s %9d %9d %9d  %s\n", arch, value["REG"], value["SHARED"], value["STACK"] + value["LOCAL"], name
    }' | c++filt | sort -k5 -k1
