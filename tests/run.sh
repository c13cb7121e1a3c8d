#!/usr/bin/env bash
# Every test, on a fresh Debian 12 or 13 (as root, or with sudo):
#
#   tests/run.sh
#
# Installs what is missing (tests/install.sh), builds into build/, then: the C tests; the C tests
# again under AddressSanitizer and UndefinedBehaviorSanitizer (build-sanitize/); those that use
# threads under ThreadSanitizer (build-thread/); after each a part of the service tests against servers of
# that build; a build with clang where there is one; pytest over tests/; hostile requests
# (tests/fuzz/campaign.py). The contract against a server with schemathesis is part of pytest, its long form is
# AFFECT_CONTRACT_SECONDS=600 with tests/service/test_schemathesis.py. Every part runs even when an earlier one failed; the summaries of all stand at the end,
# with what was skipped; the exit code is 0 only if all passed.
# ccache is used where there is one. About 15 minutes on two cores with nothing cached. Output of the parts: build/logs/.
set -uo pipefail
cd "$(dirname "$0")/.."
. tests/install.sh

jobs=$(nproc)
if command -v ccache >/dev/null; then
    export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache CMAKE_CUDA_COMPILER_LAUNCHER=ccache
fi
logs=build/logs
mkdir -p "$logs"
declare -a report
failed=0

# part NAME COMMAND...: runs it, keeps its output in build/logs/NAME.log, times it, remembers failure.
part() {
    local name=$1 begin=$SECONDS verdict=passed code
    shift
    echo "=== $name"
    "$@" 2>&1 </dev/null | tee "$logs/$name.log"
    code=${PIPESTATUS[0]}
    if [ "$code" -ne 0 ]; then
        verdict="FAILED (exit $code)"
        failed=1
    fi
    report+=("$(printf '%-16s %5d s  %s' "$name" $((SECONDS - begin)) "$verdict")")
    return "$code"
}

install() {
    install_packages BUILD_PACKAGES TEST_PACKAGES &&
        python_with build/venv -r tests/requirements.txt
}

# compile FOLDER CMAKE_OPTION...: all of it, or the targets of $targets.
compile() {
    local folder=$1
    shift
    cmake -S . -B "$folder" "$@" >"$logs/configure-$(basename "$folder").log" 2>&1 ||
        { cat "$logs/configure-$(basename "$folder").log"; return 1; }
    cmake --build "$folder" -j "$jobs" --target ${targets:-all} -- --no-print-directory -s
}

c_tests() {
    ctest --test-dir "$1" -j "$jobs" --output-on-failure --no-tests=error
}

sanitized_tests() {
    ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
        c_tests build-sanitize
}

# ThreadSanitizer of gcc 12 needs addresses in their usual places; some containers forbid to ask.
threaded_tests() {
    local usual=()
    setarch -R true 2>/dev/null && usual=(setarch -R)
    TSAN_OPTIONS=second_deadlock_stack=1:allocator_may_return_null=1 "${usual[@]}" \
        ctest --test-dir build-thread -j "$jobs" --output-on-failure --no-tests=error -L threads
}

# "auto" is the CPU here, on any machine; the tests of a GPU name the plug-in themselves.
# Side by side, a file at a time: what a file's tests share is made once, and they run in their order.
python_tests() {
    AFFECT_CUDA_LIBRARY=none AFFECT_BUILD=$PWD/build AFFECT_BUILD_DIR=$PWD/build AFFECT_BINARY=$PWD/build/bin/affect \
        PYTHONDONTWRITEBYTECODE=1 build/venv/bin/python -m pytest -c tests/pytest.ini \
        --basetemp build/pytest -n $((jobs + 1)) --dist loadfile tests
}

# The service tests that are marked so, against the servers of build-sanitize or build-thread: any report of a
# sanitizer fails the test in which it came (tests/service/conftest.py), or this part.
sanitized_service() {
    local folder=$PWD/$1 usual=() log
    rm -rf "$folder/reports"
    mkdir -p "$folder/reports"
    log=log_path=$folder/reports/report
    [ "$1" = build-thread ] && setarch -R true 2>/dev/null && usual=(setarch -R)
    ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:allocator_may_return_null=1:$log \
        UBSAN_OPTIONS=print_stacktrace=1:$log TSAN_OPTIONS=second_deadlock_stack=1:allocator_may_return_null=1:$log \
        AFFECT_SANITIZER_REPORTS=$folder/reports AFFECT_CUDA_LIBRARY=none AFFECT_BUILD=$folder AFFECT_BUILD_DIR=$folder \
        AFFECT_BINARY=$folder/bin/affect PYTHONDONTWRITEBYTECODE=1 "${usual[@]}" build/venv/bin/python -m pytest \
        -c tests/pytest.ini --basetemp "build/pytest-$1" -m sanitized tests/service || return
    ! grep . "$folder"/reports/report.* 2>/dev/null
}

# 150 hostile requests to each parser of the server; the long form is --shapes 10000 and another --seed.
hostile_requests() {
    AFFECT_CUDA_LIBRARY=none AFFECT_BUILD=$PWD/build build/venv/bin/python tests/fuzz/campaign.py
}

# The closing lines of the runners themselves: ctest's from its summary on, pytest's last ones.
summaries() {
    local name
    for name in tests tests-sanitize tests-thread; do
        echo "--- $name"
        grep -E '(\*\*\*|Skipped|did not run)|tests passed|Total Test time' "$logs/$name.log" ||
            echo "did not run"
    done
    echo "--- pytest"
    grep -E '^(SKIPPED|FAILED|ERROR) ' "$logs/pytest.log"
    tail -n 1 "$logs/pytest.log"
    echo "--- parts"
    printf '%s\n' "${report[@]}"
}

rm -f "$logs"/*.log
if part install install && part build compile build; then
    part tests c_tests build
    part build-sanitize compile build-sanitize -DAFFECT_SANITIZE=address,undefined \
        -DCMAKE_BUILD_TYPE=Sanitize '-DCMAKE_C_FLAGS_SANITIZE=-O1 -g' \
        '-DCMAKE_CXX_FLAGS_SANITIZE=-O1 -g' -DAFFECT_CUDA=OFF &&
        part tests-sanitize sanitized_tests &&
        part service-sanitize sanitized_service build-sanitize
    targets="threads affectd affect-cli" part build-thread compile build-thread -DAFFECT_SANITIZE=thread \
        -DCMAKE_BUILD_TYPE=Sanitize '-DCMAKE_C_FLAGS_SANITIZE=-O1 -g' &&
        part tests-thread threaded_tests &&
        part service-thread sanitized_service build-thread
    if command -v clang >/dev/null; then
        part build-clang compile build-clang -DCMAKE_C_COMPILER=clang \
            -DCMAKE_CXX_COMPILER=clang++ -DAFFECT_CUDA=OFF
    else
        report+=("build-clang       SKIPPED: no clang on this machine")
    fi
    part pytest python_tests
    part hostile hostile_requests
fi
echo
echo "=== summary"
touch "$logs"/{tests,tests-sanitize,tests-thread,pytest}.log
summaries
if [ "$failed" -eq 0 ]; then
    echo "all passed in $SECONDS s"
else
    echo "FAILED after $SECONDS s"
fi
exit "$failed"
