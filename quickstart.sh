#!/usr/bin/env bash
# From a fresh Debian 12 or 13 to a prediction, every request of it a curl command that is shown:
#
#   ./quickstart.sh [--keep] [IEMOCAP_DIR]
#
# Installs what is missing (as root or through sudo), builds, starts affectd on its defaults, imports
# IEMOCAP_DIR (or a demo corpus of 240 utterances in IEMOCAP's layout: espeak-ng's voice, generated
# motion), trains the study's optimised network on clips of 4 s while its epochs stream by, and
# classifies one utterance from its wav and motion files. Ends with an error unless validation
# accuracy is above 0.5. Under 15 minutes on two cores with the demo corpus.
#
# All that it makes lies in build/ and data/; a second run is quicker (features are kept). --keep
# leaves the server running for you. AFFECT_EPOCHS=40 ./quickstart.sh trains longer.
set -euo pipefail
cd "$(dirname "$0")"
. tests/install.sh

EPOCHS=${AFFECT_EPOCHS:-12}
NEEDED_ACCURACY=0.5
DATA=data
RUN=$DATA/quickstart          # what this run fetches
NAME=demo-$(date +%Y%m%d-%H%M%S)
PYTHON=/usr/bin/python3       # Debian's, with its numpy
SERVER=                       # its process, once started

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

# step TITLE FUNCTION: runs it and notes how long it took.
TIMES=()
step() {
    local begin=$SECONDS
    say "$1"
    "$2"
    TIMES+=("$(printf '%4d s  %s' $((SECONDS - begin)) "$1")")
}

# Shows a command as one could type it, then runs it.
show() {
    local argument shown=
    for argument in "$@"; do
        case $argument in
            *[!A-Za-z0-9_./:=@,-]*) shown+=" '$argument'" ;;
            *) shown+=" $argument" ;;
        esac
    done
    printf '\033[36m$%s\033[0m\n' "$shown" >&2
    "$@"
}

# field FILE NAME...: a member of a JSON document.
field() {
    "$PYTHON" -c 'import functools, json, sys
print(functools.reduce(lambda node, name: node[name], sys.argv[2:], json.load(open(sys.argv[1]))))' "$@"
}

fail() {
    echo "quickstart: $*" >&2
    exit 1
}

stop_server() {
    [ -n "$SERVER" ] || return 0
    kill "$SERVER" 2>/dev/null && wait "$SERVER" || true
    SERVER=
}

# ---- The steps ----

install() {
    install_packages BUILD_PACKAGES DEMO_PACKAGES
}

# make TARGET...: its lines go to build/build.log; they are shown where it fails.
make() {
    cmake --build build -j "$(nproc)" --target "$@" -- --no-print-directory -s >>build/build.log 2>&1 || {
        tail -n 60 build/build.log >&2
        fail "the build failed (all of its output: build/build.log)"
    }
}

build() {
    cmake -S . -B build >build/build.log 2>&1 || { cat build/build.log >&2; fail "cmake failed"; }
    echo "compiling affectd and affect, log in build/build.log"
    make affectd affect-cli
    # The GPU engine where there is a GPU and nvcc.
    [ ! -e /dev/nvidiactl ] || ! grep -q '^CMAKE_CUDA_COMPILER:[^=]*=/' build/CMakeCache.txt || make affect_cuda
}

make_corpus() {
    if [ -n "$CORPUS" ]; then
        CORPUS=$(cd "$CORPUS" && pwd)
        echo "using $CORPUS"
        return
    fi
    CORPUS=$DATA/demo-corpus
    if [ ! -d "$CORPUS" ]; then
        rm -rf "$CORPUS.part"
        # Emotions that are easy to tell: the demo shows the way, not what is hard about it.
        "$PYTHON" tests/corpus/make_corpus.py "$CORPUS.part" --utterances 240 --speakers 10 \
            --seed 1 --emotion-strength 1.5 --overlap 0.05 --jobs "$(nproc)"
        mv "$CORPUS.part" "$CORPUS"
    fi
    CORPUS=$(cd "$CORPUS" && pwd)
}

start_server() {
    local listen=127.0.0.1:8080
    if (exec 3<>/dev/tcp/127.0.0.1/8080) 2>/dev/null; then
        listen=127.0.0.1:0 # taken: any free port
    fi
    rm -f "$RUN/port"
    echo "\$ build/bin/affectd --listen $listen --data $DATA --import-root ${CORPUS%/*}"
    setsid build/bin/affectd --listen "$listen" --data "$DATA" --import-root "${CORPUS%/*}" \
        --port-file "$RUN/port" >"$RUN/server.log" 2>&1 </dev/null &
    SERVER=$!
    for _ in $(seq 100); do
        [ -s "$RUN/port" ] && break
        kill -0 "$SERVER" 2>/dev/null || break
        sleep 0.1
    done
    [ -s "$RUN/port" ] || { cat "$RUN/server.log" >&2; fail "affectd did not start"; }
    H=http://127.0.0.1:$(cat "$RUN/port")
    show curl -sS --fail-with-body "$H/readyz"
    echo
}

# wait_for JOB FILE: asks until the job has ended; fails unless it succeeded.
wait_for() {
    while :; do
        curl -sS --fail-with-body "$H/v1/jobs/$1?wait=30" -o "$2"
        [ "$(field "$2" terminal)" = True ] && break
    done
    [ "$(field "$2" state)" = succeeded ] || { cat "$2" >&2; fail "job $1: $(field "$2" state)"; }
}

import_corpus() {
    show curl -sS --fail-with-body "$H/v1/datasets" --json '{"name": "'"$NAME"'", "layout": "iemocap",
    "source": {"path": "'"${CORPUS##*/}"'"},
    "features": {"preset": "mel-16k", "mel": {"clip_seconds": 4}}}' -o "$RUN/import.json"
    wait_for "$(field "$RUN/import.json" id)" "$RUN/import-job.json"
    show curl -sS --fail-with-body "$H/v1/datasets/$NAME" -o "$RUN/dataset.json"
    echo "utterances: $(field "$RUN/dataset.json" utterances), classes: $(field "$RUN/dataset.json" classes)"
    [ "$(field "$RUN/dataset.json" utterances)" -ge 240 ] || fail "fewer than 240 utterances"
}

# Server-sent events on stdin, one readable line each.
show_events() {
    "$PYTHON" -u -c 'import json, sys
kind = ""
for line in sys.stdin:
    key, _, value = line.rstrip("\n").partition(": ")
    if key == "event":
        kind = value
    elif key == "data":
        e = json.loads(value)
        if kind == "epoch":
            print("  epoch %2d/%d  loss %.3f  accuracy %.3f  val_loss %.3f  val_accuracy %.3f  %.1f s"
                  % (e["epoch"], e["epochs"], e["loss"], e["accuracy"], e["val_loss"], e["val_accuracy"],
                     e["seconds"]))
        elif kind in ("state", "end"):
            print("  %s: %s" % (kind, e.get("state")))
        elif kind in ("warning", "log"):
            print("  %s: %s" % (kind, e.get("message")))'
}

train() {
    local job
    show curl -sS --fail-with-body "$H/v1/jobs" --json '{"type": "train", "dataset": "'"$NAME"'",
    "architecture": "paper-optimized", "model": "quickstart",
    "split": {"kind": "random", "validation": 0.2, "test": 0, "stratified": true, "seed": 1},
    "training": {"epochs": '"$EPOCHS"', "batch_size": 16, "learning_rate": 0.001, "seed": 1,
                 "best": "val_accuracy", "schedule": {"kind": "plateau", "patience": 5}}}' \
        -o "$RUN/train.json"
    job=$(field "$RUN/train.json" id)
    show curl -sSN -H 'Accept: text/event-stream' "$H/v1/jobs/$job/events" | show_events
    wait_for "$job" "$RUN/train-job.json"
    show curl -sS --fail-with-body "$H/v1/jobs/$job/plot.svg" -o "$RUN/plot.svg"
    grep -q '<svg' "$RUN/plot.svg" || fail "plot.svg is no picture"
    show curl -sS --fail-with-body "$H/v1/jobs/$job/metrics?format=csv" -o "$RUN/metrics.csv"
    local n accuracy
    n=$(field "$RUN/train-job.json" progress epoch)
    accuracy=$(field "$RUN/train-job.json" best val_accuracy)
    echo "epochs: $n, best validation accuracy: $accuracy (needed: more than $NEEDED_ACCURACY); curves: $RUN/plot.svg"
    [ "$n" -ge 10 ] || fail "only $n epochs"
    awk "BEGIN { exit !($accuracy > $NEEDED_ACCURACY) }" || fail "validation accuracy is not above $NEEDED_ACCURACY"
}

# Finds an utterance with a wav whose speaker wears the markers: its name, times and label, from the
# corpus' own evaluation files ("[6.2901 - 8.2357]<tab>Ses01F_impro01_F000<tab>ang<tab>[...]").
choose_utterance() {
    local dialog session
    while IFS=$'\t' read -r UTTERANCE START END LABEL session; do
        dialog=${UTTERANCE%_*}
        AUDIO=$session/sentences/wav/$dialog/$UTTERANCE.wav
        FACE=$session/dialog/MOCAP_rotated/$dialog.txt
        HEAD=$session/dialog/MOCAP_head/$dialog.txt
        HAND=$session/dialog/MOCAP_hand/$dialog.txt
        [ -f "$AUDIO" ] && [ -f "$FACE" ] && [ -f "$HEAD" ] && [ -f "$HAND" ] && return
    done < <(for session in "$CORPUS"/Session*; do
        sed -nE 's/^\[([0-9.]+) - ([0-9.]+)\]\t(Ses[0-9]+([FM])_[^\t]+_\4[0-9]+)\t(ang|hap|exc|neu|sad)\t.*/\3\t\1\t\2\t\5/p' \
            "$session"/dialog/EmoEvaluation/Ses*.txt | sed "s|\$|\t$session|"
    done)
    fail "no utterance with sound and motion below $CORPUS"
}

predict() {
    choose_utterance
    show curl -sS --fail-with-body "$H/v1/predictions" -F model=quickstart -F audio=@"$AUDIO" \
        -F mocap_face=@"$FACE" -F mocap_head=@"$HEAD" -F mocap_hand=@"$HAND" \
        -F start="$START" -F end="$END" -o "$RUN/prediction.json"
    cat "$RUN/prediction.json"
    printf '\n%s, which people called "%s", is classified as "%s"\n' "$UTTERANCE" "$LABEL" \
        "$(field "$RUN/prediction.json" label)"
}

# ---- The run ----

KEEP=
CORPUS=
for argument in "$@"; do
    case $argument in
        --keep) KEEP=yes ;;
        -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit ;;
        -*) fail "unknown option $argument (--keep, --help)" ;;
        *) CORPUS=$argument ;;
    esac
done
[ -z "$CORPUS" ] || [ -d "$CORPUS/Session1" ] || fail "$CORPUS: no Session1 in it"
mkdir -p build "$RUN"
trap stop_server EXIT

step "Packages" install
step "Build" build
step "Corpus" make_corpus
step "Server" start_server
step "Import" import_corpus
step "Training" train
step "Prediction" predict

say "Done in $SECONDS s"
printf '%s\n' "${TIMES[@]}"
if [ -n "$KEEP" ]; then
    echo "affectd goes on at $H (process $SERVER): kill $SERVER"
    SERVER=
fi
