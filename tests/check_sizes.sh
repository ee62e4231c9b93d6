#!/bin/bash
# tests/check_sizes.sh: files over 500 lines and functions over 60 lines, by ctags. Exceptions stand in tests/sizes_allowed.txt, one a line:
# "FILE reason" or "FILE:FUNCTION reason". An exception that is no longer needed is reported too, so that the list only shrinks.
set -u
cd "$(dirname "$0")/.." || exit 1
FILE_LINES=500 FUNCTION_LINES=60
allowed=tests/sizes_allowed.txt

sources=$(find core kernels model train eval analysis plots study cli tests benchmarks tools \
    \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o -name '*.cpp' \) 2>/dev/null | sort)

over() { # "name lines limit" for everything too long
    wc -l $sources | awk -v limit=$FILE_LINES '$2 != "total" && $1 > limit { print $2, $1, limit }'
    ctags -o - --languages=C,C++ --langmap=C++:+.cu.cuh --kinds-C=f --kinds-C++=f --fields=+ne $sources 2>/dev/null |
        awk -F'\t' -v limit=$FUNCTION_LINES '{
            line = end = 0
            for (i = 4; i <= NF; i++) {
                if ($i ~ /^line:/) line = substr($i, 6)
                if ($i ~ /^end:/) end = substr($i, 5)
            }
            if (end - line + 1 > limit) print $2 ":" $1, end - line + 1, limit
        }'
}

if ! ctags --version 2>/dev/null | grep -q Universal; then
    echo "sizes: Universal Ctags is not there (make deps installs it)"
    exit 1
fi
found=$(over)
trouble=$(
    while read -r name lines limit; do
        [ -z "$name" ] && continue
        reason=$(awk -v name="$name" '$1 == name { $1 = ""; print; exit }' $allowed)
        if [ -z "$reason" ]; then
            echo "$name: $lines lines, at most $limit wanted"
        else
            echo "$name: $lines lines, allowed:$reason" >&2
        fi
    done <<<"$found"
    while read -r name reason; do
        case $name in '' | \#*) continue ;; esac
        grep -q "^$name " <<<"$found" || echo "$allowed: '$name' needs no exception any more"
    done <$allowed
)
if [ -n "$trouble" ]; then
    echo "$trouble"
    exit 1
fi
echo "sizes: files within $FILE_LINES lines, functions within $FUNCTION_LINES"
