#!/bin/bash
# Runs every test and ends with one honest line, "N passed, N failed": the sum over cargo's tests and the scenarios.
set -euo pipefail
cd "$(dirname "$0")/.."

log=target/test.log
: > "$log"
broken=0

# A step that fails without a failed test (it did not compile, say) counts as one failure.
step() {
    local before after
    before=$(failed)
    "$@" 2>&1 | tee -a "$log" && return 0
    after=$(failed)
    [ "$after" -gt "$before" ] || broken=$((broken + 1))
}

# cargo says "test result: ok. 3 passed; 0 failed; ...", the scenarios "3 passed, 0 failed".
sum() { sed -nE "s/^(test result: [a-zA-Z]+\. |)([0-9]+) passed[;,] ([0-9]+) failed.*/\\$1/p" "$log" | awk '{ n += $1 } END { print n + 0 }'; }
passed() { sum 2; }
failed() { sum 3; }

step cargo test --workspace --no-fail-fast
step cargo run -q -p berth-qemu-tests -- --all

echo
echo "$(passed) passed, $(($(failed) + broken)) failed"
[ "$(failed)" = 0 ] && [ "$broken" = 0 ]
