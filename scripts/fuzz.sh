#!/bin/bash
# Runs fuzz targets under libFuzzer, each for some seconds: fuzz.sh SECONDS [TARGET]...
# What was interesting stays in target/fuzz/TARGET; an input with a finding is printed and kept beside it.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:?usage: fuzz.sh SECONDS [TARGET]...}
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(sed -nE 's/.*Target \{ name: "([a-z]+)".*/\1/p' qemu-tests/fuzz/src/targets.rs)
[ ${#targets[@]} -gt 0 ] || { echo "fuzz.sh: there is no target" >&2; exit 1; }

# Coverage by stable flags alone: no sanitizer is needed where nothing is unsafe. Overflow and bounds are checked.
flags=(-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions=on -Coverflow-checks=on)
export RUSTFLAGS="${flags[*]}"
root=$(cargo metadata --format-version 1 --no-deps | sed -E 's/.*"target_directory":"([^"]*)".*/\1/')/fuzz
cargo build -q --release -p berth-fuzz --features libfuzzer --target-dir "$root/build"

for target in "${targets[@]}"; do
    corpus=$root/$target
    mkdir -p "$corpus"
    echo "fuzz     $target for $seconds s"
    log=$corpus.log
    if ! BERTH_FUZZ=$target BERTH_FUZZ_CORPUS=$corpus "$root/build/x86_64-unknown-linux-gnu/release/berth-fuzz" "$corpus" \
        -max_total_time="$seconds" -max_len=16384 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$corpus-finding-" >"$log" 2>&1; then
        grep -vE '^(INFO|WARNING):|^#[0-9]' "$log" | tail -n 40
        echo "fuzz.sh: $target has a finding, see $corpus-finding-*" >&2
        exit 1
    fi
    awk '/^#[0-9]+.*cov:/ { for (i = 1; i < NF; i++) if ($i == "cov:") cov = $(i + 1) }
        /number_of_executed_units/ { n = $2 } END { printf "         %d inputs, %d places reached\n", n, cov }' "$log"
done
echo "fuzz     no finding"
