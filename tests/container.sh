#!/usr/bin/env bash
# Builds docker/Dockerfile for real and does the main job inside, without a Docker engine (as root):
#
#   tests/container.sh
#
#   base   debootstrap makes a minimal Debian from this machine's own apt sources; buildah tags it with
#          the name in FROM, in an image store of this script's own, which is removed at the end.
#   image  buildah builds the Dockerfile (chroot isolation: no privileges of a container engine are
#          needed; --format docker keeps HEALTHCHECK) and never pulls. What the image declares is checked.
#   run    buildah's own `run` cannot make a root read-only under chroot isolation, so the image is
#          mounted and entered with unshare: namespaces of its own for mounts, processes and network,
#          root read-only, /data writable, a corpus at /corpora read-only, no /tmp; then setpriv: the
#          image's user, no capabilities, no new privileges. What runs is the image's entrypoint, and
#          its HEALTHCHECK command says when it is ready.
#   job    import, 2 epochs of paper-optimized, prediction, stop by SIGTERM, start again on the same
#          data, the same prediction.
#
# DOCKERFILE=docker/Dockerfile.cuda does the same with the CUDA engine's image; in place of NVIDIA's image, which is
# only copied from, stands this machine's own toolkit (CUDA_TOOLKIT). No GPU is needed or used.
#
# Needs about 2 GB (with CUDA 8) below TMPDIR and three minutes. Variables: PYTHON, an interpreter with numpy (without
# one that has it a virtual environment is made); KEEP, a folder where base and layers are kept for the
# next run.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/install.sh
CONTAINER_PACKAGES=(buildah debootstrap debian-archive-keyring util-linux iproute2)

dockerfile=${DOCKERFILE:-docker/Dockerfile}
work=$(mktemp -d "${TMPDIR:-/tmp}/affect-container.XXXXXX")
kept=${KEEP:-$work}
store=(--root "$kept/storage" --runroot "$kept/run")
container="" server=""

step() { printf '\n=== %s (%d s)\n' "$*" "$SECONDS"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
in_image() { buildah "${store[@]}" "$@"; }

cleanup() {
    local code=$?
    if [ $code -ne 0 ] && [ -s "$work/server.log" ]; then tail -n 20 "$work/server.log" >&2; fi
    [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true
    if [ -n "$container" ]; then
        in_image umount "$container" >/dev/null 2>&1 || true
        in_image rm "$container" >/dev/null 2>&1 || true
    fi
    umount -l "$kept/storage/overlay" 2>/dev/null || true
    rm -rf --one-file-system "$work" || true
}
trap cleanup EXIT

build_base() {
    step "base: debootstrap (bookworm, minbase)"
    local mirror name base
    name=$(awk '$1 == "FROM" && $2 !~ /^nvidia\// {print $2}' "$dockerfile" | sort -u)
    [ "$(wc -l <<<"$name")" -eq 1 ] || fail "the Dockerfile has more than one base"
    if in_image images "docker.io/library/$name" >/dev/null 2>&1; then
        echo "base $name: kept from an earlier run"
        return
    fi
    mirror=$(apt-get indextargets --format '$(SITE) $(COMPONENT)' 'Created-By: Packages' \
        'Release: bookworm' | awk '$2 == "main" {print $1; exit}')
    [ -n "$mirror" ] || fail "this machine has no apt source for bookworm"
    debootstrap --variant=minbase bookworm "$work/base" "$mirror" >"$work/debootstrap.log" 2>&1 ||
        { tail -n 20 "$work/debootstrap.log" >&2; fail "debootstrap"; }
    base=$(in_image from scratch)
    in_image add -q "$base" "$work/base" / >/dev/null
    in_image commit -q "$base" "docker.io/library/$name" >/dev/null
    in_image rm "$base" >/dev/null
    rm -rf "$work/base"
    echo "base $name: made"
}

# NVIDIA's image as far as it is copied from: compiler, headers, runtime, cuBLAS.
build_toolkit() {
    local name toolkit base target
    name=$(awk '$1 == "FROM" && $2 ~ /^nvidia\// {print $2}' "$dockerfile")
    [ -n "$name" ] || return 0
    step "toolkit: this machine's, in place of $name"
    toolkit=$(realpath "${CUDA_TOOLKIT:-/usr/local/cuda}")
    [ -x "$toolkit/bin/nvcc" ] || fail "no CUDA toolkit in $toolkit (CUDA_TOOLKIT)"
    target=$(sed -nE 's/^COPY --from=toolkit ([^ ]+) .*/\1/p' "$dockerfile")
    mkdir -p "$work/toolkit/lib64"
    cp -r "$toolkit"/{bin,include,nvvm} "$work/toolkit/"
    cp -rL "$toolkit"/lib64/{libcublas,libcublasLt}.so{,.13} "$toolkit"/lib64/libcudart* "$toolkit/lib64/libcudadevrt.a" \
        "$toolkit/lib64/stubs" "$work/toolkit/lib64/"
    base=$(in_image from scratch)
    in_image add -q "$base" "$work/toolkit" "$target" >/dev/null
    in_image commit -q "$base" "docker.io/$name" >/dev/null
    in_image rm "$base" >/dev/null
    rm -rf "$work/toolkit"
}

build_image() {
    step "image: buildah bud"
    in_image --log-level error bud --isolation chroot --format docker --pull-never --layers -t affectd \
        -f "$dockerfile" . >"$work/build.log" 2>&1 ||
        { tail -n 40 "$work/build.log" >&2; fail "buildah bud"; }
    grep -E '^(\[[0-9]/[0-9]\] )?STEP' "$work/build.log" | cut -c1-100
    in_image images --format '{{.Name}} {{.Size}}' | grep affectd
}

# The image's entrypoint and health check as JSON arrays, after checking what it declares.
check_image() {
    step "image: what it declares"
    in_image inspect --type image affectd >"$work/image.json"
    python3 - "$work/image.json" <<'PYTHON'
import json, sys
image = json.load(open(sys.argv[1]))["Docker"]["config"]
health = image.get("Healthcheck") or {}
assert health.get("Test", [])[:1] == ["CMD"], "HEALTHCHECK is lost"
assert "/usr/local/bin/affectd" == health["Test"][1] and "--healthcheck" in health["Test"]
assert image["User"] == "10001:10001", image["User"]
assert list(image["Volumes"]) == ["/data"] and list(image["ExposedPorts"]) == ["8080/tcp"]
assert image["Entrypoint"][0] == "/usr/local/bin/affectd"
print("HEALTHCHECK", *health["Test"][1:])
print("ENTRYPOINT ", *image["Entrypoint"])
print("USER        10001:10001, VOLUME /data, EXPOSE 8080")
PYTHON
    mapfile -t entrypoint < <(image_array Entrypoint)
    mapfile -t healthcheck < <(image_array Healthcheck)
}

image_array() {
    python3 -c 'import json, sys
config = json.load(open(sys.argv[1]))["Docker"]["config"]
value = config[sys.argv[2]]
print(*(value["Test"][1:] if isinstance(value, dict) else value), sep="\n")' "$work/image.json" "$1"
}

# Runs in namespaces of its own: makes the root read-only, becomes the image's user, runs "$@".
enter() {
    local root=$1
    shift
    ip link set lo up
    mount --bind "$root" "$root"
    mount --bind "$work/data" "$root/data"
    mount --bind "$work/corpora" "$root/corpora"
    mount -o remount,bind,ro "$root/corpora"
    mount -t tmpfs -o mode=0755,size=64k none "$root/dev"
    local device
    for device in null zero random urandom; do
        touch "$root/dev/$device"
        mount --bind "/dev/$device" "$root/dev/$device"
    done
    mount -o remount,ro "$root/dev"
    mount -t proc proc "$root/proc"
    mount -o remount,bind,ro "$root"
    exec env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin HOME=/data chroot "$root" /usr/bin/setpriv \
        --reuid 10001 --regid 10001 --clear-groups --bounding-set=-all --inh-caps=-all \
        --no-new-privs "$@"
}
export -f enter

start_server() {
    work=$work unshare --mount --pid --net --fork --propagation private \
        bash -euc 'enter "$@"' enter "$root" "${entrypoint[@]}" --import-root /corpora \
        >"$work/server.log" 2>&1 &
    local unshare_pid=$! attempt
    for attempt in $(seq 100); do
        server=$(cat "/proc/$unshare_pid/task/$unshare_pid/children" 2>/dev/null | tr -d ' ')
        if [ -n "$server" ] && inside "${healthcheck[@]}" 2>/dev/null; then
            echo "ready: the image's HEALTHCHECK says so (after ${attempt}00 ms at most)"
            return
        fi
        [ -d "/proc/$unshare_pid" ] || fail "the server ended at once"
        sleep 0.1
    done
    fail "the server is not ready after 10 s"
}

stop_server() {
    kill -TERM "$server"
    local unshare_pid code=0
    unshare_pid=$(awk '$1 == "PPid:" {print $2}' "/proc/$server/status")
    wait "$unshare_pid" || code=$?
    server=""
    [ "$code" -eq 0 ] || fail "SIGTERM: the server's exit code is $code"
    echo "SIGTERM: ended with exit code 0"
}

# A command of the image beside the server, as its user.
inside() {
    nsenter -t "$server" -m -n -p chroot "$root" /usr/bin/setpriv --reuid 10001 --regid 10001 \
        --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
}

# curl from this machine's files into the server's network.
client() { nsenter -t "$server" -n curl -sS --fail-with-body --max-time 60 "$@"; }
field() { python3 -c 'import json, sys
value = json.load(sys.stdin)
for key in sys.argv[1:]: value = value[key]
print(value)' "$@"; }

check_confinement() {
    step "confinement"
    local status="/proc/$server/status"
    [ "$(awk '$1 == "Uid:" {print $2 $3 $4 $5}' "$status")" = 10001100011000110001 ] || fail "uid"
    grep -Eq '^CapBnd:\s0+$' "$status" && grep -Eq '^CapEff:\s0+$' "$status" || fail "capabilities"
    grep -Eq '^NoNewPrivs:\s1$' "$status" || fail "no_new_privs"
    local path
    for path in / /etc /tmp /var/tmp /usr/local/bin /corpora /dev; do
        if inside touch "$path/written" 2>/dev/null; then fail "$path can be written"; fi
    done
    inside touch /data/written && inside rm /data/written || fail "/data cannot be written"
    echo "uid 10001, no capabilities, no new privileges; only /data can be written"
}

# The CUDA engine is in the image and can be loaded: what is missing is the host's driver or nothing.
check_devices() {
    grep -q affect_cuda "$dockerfile" || return 0
    step "devices"
    local found
    found=$(inside /usr/local/bin/affect inspect --devices)
    echo "$found"
    grep -q '^cuda' <<<"$found" || fail "no line about CUDA"
    if grep -Eq 'no CUDA engine|cannot be loaded|another build|no plug-in' <<<"$found"; then fail "the CUDA engine"; fi
}

# wait_job ID: until it has ended; fails unless it succeeded.
wait_job() {
    local job state
    while :; do
        job=$(client "$url/v1/jobs/$1?wait=20")
        state=$(field state <<<"$job")
        [ "$(field terminal <<<"$job")" = False ] || break
    done
    [ "$state" = succeeded ] || fail "job $1: $job"
}

predict() {
    local dialog=Ses01F_impro01 session=$work/corpora/demo/Session1 utterance
    utterance=$(basename "$(find "$session/sentences/wav/$dialog" -name '*.wav' | sort | head -1)" .wav)
    read -r start end < <(sed -nE "s/^\[([0-9.]+) - ([0-9.]+)\]\t$utterance\t.*/\1 \2/p" \
        "$session/dialog/EmoEvaluation/$dialog.txt")
    client "$url/v1/predictions" -F model=first \
        -F "audio=@$session/sentences/wav/$dialog/$utterance.wav" \
        -F "mocap_face=@$session/dialog/MOCAP_rotated/$dialog.txt" \
        -F "mocap_head=@$session/dialog/MOCAP_head/$dialog.txt" \
        -F "mocap_hand=@$session/dialog/MOCAP_hand/$dialog.txt" -F "start=$start" -F "end=$end"
}

main_job() {
    step "import: /corpora/demo, clips of 4 s"
    local job
    job=$(client "$url/v1/datasets" --json '{"name": "demo", "layout": "iemocap",
        "source": {"path": "demo"}, "features": {"preset": "mel-16k", "mel": {"clip_seconds": 4}}}' |
        field id)
    wait_job "$job"
    client "$url/v1/datasets/demo" | python3 -c 'import json, sys
found, expected = json.load(sys.stdin), json.load(open(sys.argv[1]))
for key in ("utterances", "classes"): assert found[key] == expected[key], (key, found[key])
print(found["utterances"], "utterances, as many as were made:", found["classes"])' \
        "$work/corpora/demo/expected.json"

    step "train: paper-optimized, full width, 2 epochs"
    job=$(client "$url/v1/jobs" --json '{"type": "train", "dataset": "demo", "model": "first",
        "architecture": "paper-optimized", "split": {"kind": "random", "validation": 0.25, "seed": 1},
        "training": {"epochs": 2, "batch_size": 8, "seed": 1}}' | field id)
    wait_job "$job"
    client -H 'Accept: application/x-ndjson' --max-time 20 "$url/v1/jobs/$job/events" >"$work/events"
    [ "$(grep -c '"epoch"' "$work/events")" -ge 2 ] || fail "fewer than two epochs in the events"
    client "$url/v1/jobs/$job" | python3 -c 'import json, sys
job = json.load(sys.stdin)
print("state", job["state"], "model", job["result"]["model"], "version", job["result"]["version"],
      "best", job["best"])'

    step "predict"
    predict >"$work/prediction"
    python3 - "$work/prediction" <<'PYTHON'
import json, sys
answer = json.load(open(sys.argv[1]))
values = answer["probabilities"]
assert sorted(values) == ["angry", "happy", "neutral", "sad"] and abs(sum(values.values()) - 1) < 1e-5
assert answer["label"] == max(values, key=values.get)
print(answer["label"], values)
PYTHON
}

[ "$(id -u)" -eq 0 ] || fail "must run as root (chroot, mount namespaces)"
install_packages DEMO_PACKAGES CONTAINER_PACKAGES
if ! "${PYTHON:=python3}" -c 'import numpy' 2>/dev/null; then
    python_with "$work/venv" "$(grep '^numpy' tests/requirements.txt)"
    PYTHON=$work/venv/bin/python
fi
build_base
build_toolkit
build_image
check_image

step "a demo corpus, made outside"
mkdir -p "$work/data" "$work/corpora"
chown 10001:10001 "$work/data"
chmod 0755 "$work"
"$PYTHON" tests/corpus/make_corpus.py "$work/corpora/demo" --utterances 48 --speakers 4 --seed 1
url=http://127.0.0.1:8080

step "start: the image's entrypoint"
container=$(in_image from --pull-never affectd)
root=$(in_image mount "$container")
mkdir -p "$root/corpora"
start_server
check_confinement
check_devices
main_job

step "stop, start again on the same /data"
stop_server
start_server
[ "$(predict | field probabilities)" = "$(field probabilities <"$work/prediction")" ] ||
    fail "another prediction after the restart"
echo "the same prediction, bit by bit"
stop_server

step "passed"
echo "Ran for real: debootstrap base, buildah build of $dockerfile, and in that image, as uid" \
    "10001 on a read-only root: import, training, prediction, restart, prediction."
