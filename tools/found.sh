#!/bin/bash
# tools/found.sh CC PKG_CONFIG NVCC GENCODE LIBRARY...: prints what this build is made with; fails with one line if something is missing.
# NVCC: empty where this build has no GPU backend. GENCODE: the options that name its targets.
set -u
cc=$1 pkg_config=$2 nvcc=$3 gencode=$4
shift 4

missing=
# Older clangs do not know the first.
version=$($cc -dumpfullversion 2>/dev/null || $cc -dumpversion 2>/dev/null) || missing=" $cc"
found="$cc $version"
for library in "$@"; do
    if version=$($pkg_config --modversion "$library" 2>/dev/null); then
        found="$found, $library $version"
    else
        missing="$missing $library"
    fi
done
version=$(printf '#include <oneapi/dnnl/dnnl_version.h>\nDNNL_VERSION_MAJOR DNNL_VERSION_MINOR DNNL_VERSION_PATCH\n' |
    $cc -E -P - 2>/dev/null | tail -n 1 | tr ' ' .)
case $version in
[0-9]*) found="$found, oneDNN $version" ;;
*) missing="$missing oneDNN" ;;
esac
if [ -n "$missing" ]; then
    echo "lethe: not found:$missing ('make deps' installs what is missing)" >&2
    exit 1
fi
echo "found: $found"
if [ -n "$nvcc" ]; then
    version=$($nvcc --version | sed -nE 's/.*release ([0-9.]+).*/\1/p')
    echo "CUDA: nvcc $version, kernels for $(grep -oE 'code=[a-z0-9_]+' <<<"$gencode" | cut -d= -f2 | paste -sd ' ')"
else
    echo "CUDA: no nvcc (CUDA_HOME, /usr/local/cuda, PATH): a build for the CPU only"
fi
