#!/bin/bash
# tests/check_canary.sh: the canary variant sums its matrix products in an order that depends on the batch; test_invariance must see that. A test that
# passes there would not notice a real one either. Not seeing it because the program crashed, was not built or skipped everything does not count.
set -u
cd "$(dirname "$0")/.." || exit 1

if tests/run.sh canary test_invariance >build/canary/run.log; then
    echo "canary: test_invariance passed although results depend on the batch"
    exit 1
fi
if ! grep -q '^\[  FAILED  \]' build/canary/log/test_invariance.log || grep -q '    FAILED: ' build/canary/run.log; then
    cat build/canary/run.log
    echo "canary: test_invariance failed for another reason than a failed check"
    exit 1
fi
echo "canary: the planted error was caught by $(sed -n 's/^\[  FAILED  \] \(test_.*\)/\1/p' build/canary/log/test_invariance.log | sort -u | tr '\n' ' ')"
