#!/bin/bash
# tools/cuda_report.sh LOG...: registers, shared memory and spilled bytes of every kernel, per architecture, from what ptxas said when it was compiled.
# Dynamic shared memory is asked for at the launch and not here. A local array that did not fit into registers counts as stack.
set -eu
if [ $# -eq 0 ] || ! cat "$@" >/dev/null 2>&1; then
    echo "cuda-report: no kernels were compiled (no nvcc in CUDA_HOME, /usr/local/cuda or PATH)" >&2
    exit 1
fi
printf '%-7s %9s %7s %7s %7s  %s\n' target registers shared spilled stack kernel
cat "$@" | awk '
    /Compiling entry function/ { split($0, part, "\047"); name = part[2]; target = part[4] }
    /bytes stack frame/ { stack = $1; spilled = $5 }
    /Used [0-9]+ registers/ {
        shared = 0
        for (i = 1; i <= NF; i++) {
            if ($i == "Used") registers = $(i + 1)
            if ($i ~ /^smem/) shared = $(i - 2)
        }
        printf "%-7s %9d %7d %7d %7d  %s\n", target, registers, shared, spilled, stack, name
    }' | c++filt | sort -k6 -k1
