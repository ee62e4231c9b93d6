#!/bin/bash
# tests/check_layers.sh [ROOT]: every #include "..." goes in the direction docs allow, headers have no cycles, and the headers of
# the numeric libraries stay inside the backends. tests/check_layers.sh --self-test plants one violation of each kind and looks for it.
#
#     core <- kernels <- model <- { train, eval, analysis } <- study <- cli        core <- plots <- study
#
# tests and benchmarks may include anything.
set -u

includes() { # ROOT -> "file line included" for every quoted include of the module folders
    (cd "$1" && find core kernels model train eval analysis plots study cli -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' 2>/dev/null |
        sort | xargs -r grep -nH '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' |
        sed -E 's/^([^:]+):([0-9]+):[^"]*"([^"]*)".*/\1 \2 \3/')
}

check_directions() {
    includes "$1" | awk '
        BEGIN {
            may["core"] = "core"
            may["kernels"] = "core kernels"
            may["model"] = may["kernels"] " model"
            may["train"] = may["model"] " train"
            may["eval"] = may["model"] " eval"
            may["analysis"] = may["model"] " analysis"
            may["plots"] = "core plots"
            may["study"] = may["model"] " train eval analysis plots study"
            may["cli"] = may["study"] " cli"
        }
        {
            from = $1; sub("/.*", "", from)
            to = $3; sub("/.*", "", to)
            if ($3 !~ "/" || $3 ~ /^\.\.?\//)
                print $1 ":" $2 ": \"" $3 "\" is no path from the root"
            else if (index(" " may[from] " ", " " to " ") == 0)
                print $1 ":" $2 ": " from " must not include " to " (\"" $3 "\")"
            else if ($3 == "kernels/backend.h" && from != "kernels")
                print $1 ":" $2 ": kernels/backend.h is private to kernels"
            else if ($3 ~ "^kernels/(cpu|cuda)/" && $1 !~ "^kernels/(cpu|cuda)/")
                print $1 ":" $2 ": \"" $3 "\" is private to its backend"
        }'
}

check_cycles() {
    includes "$1" | awk '$1 ~ /\.c?uh?$|\.h$/ { print $1, $3 }' | tsort 2>&1 >/dev/null |
        awk '/loop/ { print "headers include one another in a circle:"; next } { print "    " $NF }'
}

check_libraries() {
    (cd "$1" && find core kernels model train eval analysis plots study cli tests benchmarks \
        \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' \) 2>/dev/null | sort |
        xargs -r grep -nHE '^[[:space:]]*#[[:space:]]*include[[:space:]]*<([a-z/]*/)?(dnnl|lapacke?|cblas|openblas|cublas|cusolver|nccl|cuda)[A-Za-z0-9_]*\.h' |
        grep -vE '^(kernels/(cpu|cuda)|tests/cudasim)/' |
        sed -E 's/^([^:]+:[0-9]+):[^<]*<([^>]*)>.*/\1: <\2> belongs under kernels\/cpu or kernels\/cuda/')
}

check_all() {
    local found
    found=$(check_directions "$1"; check_cycles "$1"; check_libraries "$1")
    [ -z "$found" ] && return 0
    echo "$found"
    return 1
}

# A planted violation: FILE TEXT WORDS; the check has to fail with WORDS.
expect_caught() {
    local root
    root=$(mktemp -d)
    mkdir -p "$root"/{core,kernels/cpu,model,train,eval/tasks,analysis,plots,study,cli,tests,benchmarks}
    printf '#include "core/b.h"\n' >"$root/core/a.h"
    printf '#include "core/a.h"\n#include "kernels/ops.h"\n' >"$root/model/a.c"
    printf '#include <oneapi/dnnl/dnnl.h>\n#include "kernels/backend.h"\n' >"$root/kernels/cpu/gemm.c"
    if ! check_all "$root" >/dev/null; then
        echo "layers self-test: a clean tree was refused"
        status=1
    fi
    printf '%b' "$2" >"$root/$1"
    if check_all "$root" | grep -qF -- "$3"; then :; else
        echo "layers self-test: '$2' in $1 was not caught"
        status=1
    fi
    rm -rf "$root"
}

self_test() {
    status=0
    expect_caught core/x.c '#include "kernels/ops.h"\n' 'core must not include kernels'
    expect_caught kernels/x.h '# include "model/config.h"\n' 'kernels must not include model'
    expect_caught eval/tasks/x.c '#include "analysis/rank.h"\n' 'eval must not include analysis'
    expect_caught plots/x.c '#include "model/config.h"\n' 'plots must not include model'
    expect_caught model/x.c '#include "kernels/backend.h"\n' 'private to kernels'
    expect_caught model/x.c '#include "kernels/cpu/simd.h"\n' 'private to its backend'
    expect_caught cli/x.c '#include "options.h"\n' 'no path from the root'
    expect_caught core/b.h '#include "core/a.h"\n' 'in a circle'
    expect_caught model/x.c '#include <cblas.h>\n' 'belongs under kernels/cpu'
    expect_caught tests/x.c '  #  include <oneapi/dnnl/dnnl.h>\n' 'belongs under kernels/cpu'
    [ $status -eq 0 ] && echo "layers self-test: all planted violations caught"
    return $status
}

if [ "${1:-}" = --self-test ]; then
    self_test
else
    check_all "${1:-$(dirname "$0")/..}" && echo "layers: every include goes the allowed way"
fi
