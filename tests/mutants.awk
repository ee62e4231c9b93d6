# Lists the mutants of kernel sources: awk -f tests/mutants.awk FILE... -> file, line, kind, mutated line, separated by tabs.
# Only inside functions marked __global__ or __device__, each mutant changes one thing:
#   barrier  a __syncthreads or __syncwarp is gone          wait   a cp_async_wait is gone
#   tail     a comparison is off by one (<= for <, > for >=); not where it ends a loop at a constant of the source
#   bound    a comparison outside a loop's head always lets through (x < y: true, x >= y: false)
function emit(kind, text) { printf "%s\t%d\t%s\t%s\n", FILENAME, FNR, kind, text }

# The end (or, going left, the start) of the operand beside a comparison: up to a bracket that closes it, or an operator that binds less.
function edge(text, at, step,    depth, c, two) {
    for (depth = 0; at >= 1 && at <= length(text); at += step) {
        c = substr(text, at, 1)
        two = substr(text, at, 2)
        if (index(step > 0 ? ")]" : "([", c)) { if (depth-- == 0) return at - step }
        else if (index(step > 0 ? "([" : ")]", c)) depth++
        else if (depth == 0 && (index("?;,{}&|", c) || (c == "=" && substr(text, at - 1, 3) ~ / = /) || (c == ":" && substr(text, at - 1, 3) == " : ")))
            return at - step
        else if (depth == 0 && step < 0 && substr(text, at - 6, 7) == "return ")
            return at + 1
    }
    return at - step
}

# SPLIT, 4, AttnState<T, DP>::ROWS, sizeof(T)
function is_constant(operand) {
    gsub(/[A-Za-z_0-9]+<[^>]*>::|sizeof\([^)]*\)/, "", operand)
    return operand !~ /[a-z]/
}

function comparisons(text, operator, shifted, open,    from, at, left, right, loop) {
    loop = text ~ /^ *(for|while) *\(/
    for (from = 1; (at = index(substr(text, from), operator)) > 0; from = at + length(operator)) {
        at += from - 1
        left = edge(text, at - 1, -1)
        right = edge(text, at + length(operator), 1)
        if (text ~ /static_assert/ || (is_constant(substr(text, at, right - at + 1)) && (loop || is_constant(substr(text, left, at - left)))))
            continue
        emit("tail", substr(text, 1, at - 1) shifted substr(text, at + length(operator)))
        if (!loop)
            emit("bound", substr(text, 1, left - 1) " " open " " substr(text, right + 1))
    }
}

FNR == 1 { inside = 0 }
/^(static |template |__global__|__device__|inline |extern )/ && /__global__|__device__/ { inside = 1 }
/^template / { next }
/__global__|__device__/ && !/^ / { inside = 1 }
inside && /^ / {
    line = $0
    code = line
    sub(/ *\/\*.*\*\/ *$/, "", code)
    if (code ~ /^ *(\/\*|\*)/) next
    if (match(code, /__sync(threads|warp)\(\);/)) emit("barrier", substr(code, 1, RSTART - 1) ";" substr(code, RSTART + RLENGTH))
    if (match(code, /cp_async_wait<[^>]*>\(\);/)) emit("wait", substr(code, 1, RSTART - 1) ";" substr(code, RSTART + RLENGTH))
    comparisons(code, " < ", " <= ", "true")
    comparisons(code, " >= ", " > ", "false")
}
/^}/ { inside = 0 }
