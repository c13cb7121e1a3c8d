#!/usr/bin/env bash
# Fuzzes every target for a while, two at a time, and leaves what was found:
#
#   CC=clang CXX=clang++ cmake -S . -B build-fuzz -DAFFECT_FUZZ=ON && cmake --build build-fuzz --target fuzz
#   tests/fuzz/fuzz.sh [SECONDS_EACH [NAME...]]        default: 600, all
#
# Starts from tests/fuzz/corpus and, where build/bin/affect is, make_seeds.py. What was found goes to
# build-fuzz/found (inputs that break something), the grown corpora to build-fuzz/corpus/NAME. Exit code 1: findings.
set -uo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-600}
shift
names=("$@")
[ ${#names[@]} -gt 0 ] || for program in build-fuzz/fuzz/fuzz_*; do names+=("${program##*/fuzz_}"); done
mkdir -p build-fuzz/found build-fuzz/seeds
python=build/venv/bin/python
[ -x "$python" ] || python=python3
[ ! -x build/bin/affect ] || "$python" tests/fuzz/make_seeds.py build/bin/affect build-fuzz/seeds

fuzz_one() {
    local name=$1 folders=("build-fuzz/corpus/$1") folder
    mkdir -p "${folders[0]}"
    for folder in "tests/fuzz/corpus/$name" "build-fuzz/seeds/$name"; do
        [ ! -d "$folder" ] || folders+=("$folder")
    done
    build-fuzz/fuzz/fuzz_"$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 \
        -artifact_prefix="build-fuzz/found/$name-" "${folders[@]}" >"build-fuzz/$name.log" 2>&1
    local code=$?
    printf '%-14s %s  %s inputs\n' "$name" "$([ $code -eq 0 ] && echo nothing || echo "FOUND (exit $code)")" \
        "$(sed -n 's/^stat::number_of_executed_units: *//p' "build-fuzz/$name.log")"
    return $code
}
export -f fuzz_one
export seconds
printf '%s\n' "${names[@]}" | xargs -P 2 -I{} bash -c 'fuzz_one {} || exit 1'
