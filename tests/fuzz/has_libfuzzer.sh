#!/bin/bash
# tests/fuzz/has_libfuzzer.sh CLANG: whether this compiler links libFuzzer; one line if not.
set -u
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
echo 'int LLVMFuzzerTestOneInput(const char *data, unsigned long size) { return data == 0 && size != 0; }' >"$folder/x.c"
"$1" -fsanitize=fuzzer,address,undefined -o "$folder/x" "$folder/x.c" 2>/dev/null && exit 0
echo "fuzz: $1 with libFuzzer is not there (CLANG names another): nothing is built; test_fuzz_corpus still changes inputs by itself"
exit 1
