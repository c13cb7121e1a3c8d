#!/usr/bin/env bash
# A folder of affectd that runs on a machine without our libraries, to be measured on its GPU:
#
#   tests/bench/gpu/pack.sh [--all] FOLDER [CMAKE_OPTION...]
#
#   FOLDER/bin      the benches, and the CUDA engine where nvcc is here; with --all also affect, affectd
#   FOLDER/tests    the C tests of kernels
#   FOLDER/lib      every library that they need but glibc, and NVIDIA's, which the GPU machine has
#   FOLDER/include  cJSON's header: with FOLDER in CMAKE_PREFIX_PATH the network part builds there
#
# Everything finds its libraries by $ORIGIN (DT_RPATH, which holds for the libraries' own needs too), so
# the folder may lie anywhere. The machine needs an x86-64 Linux with a glibc as new as the one that the
# last line names. Afterwards, as root, all of it is tried in a root that holds FOLDER and glibc alone.
# Builds into build-pack/. --all makes 56 MB of 4. Then, there:
#
#   python3 tests/bench/gpu/gpu_table.py --programs FOLDER/bin
set -euo pipefail
cd "$(dirname "$0")/../../.."
parts=network
programs=()
if [ "${1:-}" = --all ]; then
    parts=all
    programs=(affect affectd)
    shift
fi
[ $# -ge 1 ] || { sed -n '2,5p' "$0"; exit 2; }
mkdir -p "$1"
folder=$(realpath "$1")
shift
build=build-pack
glibc='^(ld-linux|libc|libm|libdl|librt|libpthread|libresolv|libmvec)(-x86-64)?\.so'
nvidia='^lib(cuda|cudart|cublas|cublasLt|nvJitLink)\.so'
benches=(run_ops run_ops64 bench_step bench_step64 bench_ops bench_epoch)

compile() {
    rm -f "$build/bin/libaffect_cuda.so" # an earlier one must not come along
    cmake -S . -B "$build" -UCMAKE_CUDA_ARCHITECTURES -DAFFECT_CUDA=AUTO -DAFFECT_PARTS="$parts" "$@" -DCMAKE_BUILD_RPATH='$ORIGIN/../lib' \
        -DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags >"$folder/configure.log" ||
        { cat "$folder/configure.log" >&2; return 1; }
    cmake --build "$build" -j "$(nproc)" -- --no-print-directory -s
    cmake --build "$build" -j "$(nproc)" --target "${benches[@]}" -- --no-print-directory -s
}

# The files of a program's libraries, theirs included.
libraries() { ldd "$1" | awk '$2 == "=>" && $3 ~ /^\// {print $3}'; }

collect() {
    rm -rf "$folder"/{bin,tests,lib,include}
    mkdir -p "$folder"/{bin,tests,lib,include/cjson}
    local file
    for file in "${programs[@]}"; do install -s "$build/bin/$file" "$folder/bin/"; done
    for file in "${benches[@]}"; do install -s "$build/bench/$file" "$folder/bin/"; done
    if [ -e "$build/bin/libaffect_cuda.so" ]; then install -s "$build/bin/libaffect_cuda.so" "$folder/bin/"; fi
    for file in "$build"/tests/test_*; do
        # Only tests of what runs on a GPU; the others need files of the source tree.
        case $(basename "$file") in
            test_*cuda* | test_*backend* | test_*ops* | test_gradients64 | test_graph_device) install -s "$file" "$folder/tests/" ;;
        esac
    done
    while read -r file; do
        [[ $(basename "$file") =~ $glibc|$nvidia ]] || install -m 644 -s "$(realpath "$file")" "$folder/lib/$(basename "$file")"
    done < <(for file in "$folder"/bin/* "$folder"/tests/*; do libraries "$file"; done | sort -u)
    ln -sf libcjson.so.1 "$folder/lib/libcjson.so"
    cp "$(pkg-config --variable=includedir libcjson)"/cjson/cJSON.h "$folder/include/cjson/" 2>/dev/null ||
        cp /usr/include/cjson/cJSON.h "$folder/include/cjson/"
}

# The newest glibc that anything in the folder asks for.
glibc_needed() {
    find "$folder/bin" "$folder/lib" "$folder/tests" -type f -print0 | xargs -0 -n 1 objdump -T 2>/dev/null |
        grep -o 'GLIBC_2\.[0-9]*' | sort -uV | tail -n 1
}

# alone COMMAND...: in $root, which has nothing of this machine but /proc ($ORIGIN needs it).
alone() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin unshare --mount --propagation private sh -ec '
        mount --bind /proc "$0/proc"
        exec env -i "$(command -v chroot)" "$0" "$@"' "$root" "$@"
}

# A root with the folder and glibc: what starts here needs nothing else of this machine.
try_alone() {
    local program file
    root=$(mktemp -d)
    trap 'rm -rf --one-file-system "$root"' EXIT
    mkdir -p "$root/lib64" "$root/lib/x86_64-linux-gnu" "$root/tmp" "$root/proc"
    cp -r "$folder" "$root/pack"
    for file in /lib/x86_64-linux-gnu/*.so*; do
        if [[ $(basename "$file") =~ $glibc ]]; then cp -L "$file" "$root/lib/x86_64-linux-gnu/"; fi
    done
    cp -L /lib64/ld-linux-x86-64.so.2 "$root/lib64/"
    touch "$root/empty"
    for program in "${programs[@]}"; do
        alone "/pack/bin/$program" --help >/dev/null
    done
    alone /pack/bin/bench_step --small FULL 1
    alone /pack/bin/bench_epoch /tmp/epoch 10 '{"training": {"epochs": 1, "batch_size": 4}}'
    for program in run_ops run_ops64; do
        alone "/pack/bin/$program" cpu fp32 /empty /tmp/answers
    done
    for file in "$root"/pack/tests/*; do
        case $(basename "$file") in *_device) continue ;; esac # needs a plug-in
        alone "/pack/tests/$(basename "$file")" >"$folder/tests.log" 2>&1 ||
            { tail -n 20 "$folder/tests.log" >&2; return 1; }
    done
    echo "runs in a root that holds the folder and glibc alone"
}

compile "$@"
collect
if [ "$(id -u)" -eq 0 ]; then
    try_alone
else
    echo "not tried alone: that needs root (chroot)"
fi
echo "$folder: $(du -sm "$folder" | cut -f 1) MB, needs $(glibc_needed)$(
    [ -e "$folder/bin/libaffect_cuda.so" ] || echo "; without the CUDA engine")"
