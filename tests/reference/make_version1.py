#!/usr/bin/env python3
"""Makes version1.tar.xz: a data folder as the program of commit 168d432 left it, and what that program answered.

    AFFECT_BUILD=<build folder of 168d432> python make_version1.py

data/ is the folder of a server that was killed: a dataset, an evaluation with its artifact, versions 1 and 2
of model "tiny", version 1 of "audio", jobs that succeeded, failed and were cancelled, one that ran, one paused, one
queued behind it, an Idempotency-Key. answers.json holds every job, its events and metrics, models and datasets as they
were served before the kill, and a prediction of each model with the sounds and motion in parts/. Recordings are tones
and steps, so that all of it packs well. The program of that commit is needed: a later one makes a later folder.
"""
import json
import os
import pathlib
import signal
import sys
import tarfile
import tempfile

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
for folder in ("service", "corpus"):
    sys.path.insert(0, str(HERE.parent / folder))
from conftest import Server  # noqa: E402
from small_tree import COLUMNS, RATE, SmallTree, motion_lines, write_wav  # noqa: E402
from test_failures import ARCHITECTURE, children, wait_end  # noqa: E402

AUDIO = {"name": "tiny-audio", "inputs": {"audio": ARCHITECTURE["inputs"]["audio"]},
         "branches": {"audio": ARCHITECTURE["branches"]["audio"]},
         "fusion": {"branches": ["audio"], "layers": [ARCHITECTURE["fusion"]["layers"][-1]]}}


def simplify(tree):
    """Tones in place of noise, steps in place of drift."""
    for dialog in tree.dialogs:
        for number, (turn, *_) in enumerate(tree.turns[dialog]):
            phase = np.arange(RATE) % (32 << number % 4)
            write_wav(tree.wav(dialog, turn), 40 * phase)
        for folder, columns in COLUMNS.items():
            rows = len(tree.rows[dialog, folder])
            steps = np.arange(rows)[:, None] // 144 + np.arange(columns)[None] % 5.0
            tree.motion(dialog, folder).write_text("\n".join(motion_lines(steps)) + "\n")


def train(server, **changes):
    key = changes.pop("key", None)
    body = {"type": "train", "dataset": "small", "architecture": ARCHITECTURE, "model": "tiny",
            "split": {"kind": "random", "validation": 0.5, "seed": 1},
            "training": {"epochs": 3, "batch_size": 4, "seed": 7}} | changes
    answer = server.post_json("/v1/jobs", body, **({"Idempotency-Key": key} if key else {}))
    assert answer.status == 202, answer.body
    return answer.json()["id"]


def wait_state(server, job, state):
    server.wait_for(lambda: server.get(f"/v1/jobs/{job}").json()["state"] == state, state, 60)


def cpu_flags():
    """What decides which kernels run: same flags, same bits."""
    text = pathlib.Path("/proc/cpuinfo").read_text()
    return [flag for flag in ("avx2", "fma", "avx512f") if f" {flag} " in text]


def parts_of(tree):
    dialog = tree.dialogs[0]
    files = {"audio": tree.wav(dialog, tree.turns[dialog][1][0])}
    files |= {name: tree.motion(dialog, folder) for name, folder in
              (("mocap_face", "rotated"), ("mocap_head", "head"), ("mocap_hand", "hand"))}
    window = {"start": "1.7", "end": "2.7", "audio_start": "0", "audio_end": "1"}
    return {name: path.read_bytes() for name, path in files.items()}, window


def fill(server):
    answer = server.post_json("/v1/datasets", {"name": "small", "source": {"path": "small"}, "features": {
        "preset": "mel-16k", "mel": {"clip_seconds": 1, "n_mels": 24}, "motion": {"parts": 20}}})
    assert wait_end(server, answer.json()["id"])["state"] == "succeeded"
    keyed = {"key": "version-1"}
    ended = [train(server, **keyed), train(server), train(server, architecture=AUDIO, model="audio")]
    assert all(wait_end(server, job)["state"] == "succeeded" for job in ended)
    evaluate = {"type": "evaluate", "dataset": "small", "model": "tiny:1", "part": "all"}
    ended.append(server.post_json("/v1/jobs", evaluate).json()["id"])
    assert wait_end(server, ended[-1])["state"] == "succeeded"
    long = {"epochs": 100000, "batch_size": 4, "seed": 7}
    for end, model in (("failed", "crashes"), ("cancelled", "stops")):
        ended.append(train(server, training=long, model=model))
        wait_state(server, ended[-1], "running")
        if end == "failed":
            os.kill(children(server.process.pid)["train"][0], signal.SIGSEGV)
        else:
            server.request("POST", f"/v1/jobs/{ended[-1]}/cancel")
        assert wait_end(server, ended[-1])["state"] == end
    paused = train(server, model="paused", training={"epochs": 400, "batch_size": 4, "seed": 7})
    wait_state(server, paused, "running")
    server.request("POST", f"/v1/jobs/{paused}/pause")
    wait_state(server, paused, "paused")
    running = train(server, model="running", training=long)
    wait_state(server, running, "running")
    queued = train(server, model="queued")
    return {"ended": ended, "paused": paused, "running": running, "queued": queued}


def answers_of(server, jobs):
    """What the program says of all that does not change any more."""
    bodies = {"/v1/datasets/small", "/v1/datasets/small/report", "/v1/datasets/small/samples", "/v1/models",
              "/v1/models/tiny", "/v1/models/tiny/versions/1", "/v1/models/audio/versions/1"}
    for job in [*jobs["ended"], jobs["paused"]]:
        bodies |= {f"/v1/jobs/{job}", f"/v1/jobs/{job}/events?limit=1000", f"/v1/jobs/{job}/metrics"}
    bodies.add(f"/v1/jobs/{jobs['ended'][3]}/artifacts")
    return {path: server.get(path).json() for path in sorted(bodies)}


def predictions_of(server, parts, fields):
    found = {}
    for model in ("tiny:1", "tiny:2", "audio:1"):
        used = {name: (name, data) for name, data in parts.items() if model != "audio:1" or name == "audio"}
        of_model = fields if model != "audio:1" else {}
        answer = server.post_form("/v1/predictions", {"model": model, **of_model, **used})
        assert answer.status == 200, answer.body
        found[model] = answer.json()["probabilities"]
    return found


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        tree = SmallTree(folder / "corpora/small")
        simplify(tree)
        parts, fields = parts_of(tree)
        server = Server(folder, import_root=folder / "corpora")
        jobs = fill(server)
        told = {"jobs": jobs, "cpu": cpu_flags(), "fields": fields, "answers": answers_of(server, jobs),
                "predictions": predictions_of(server, parts, fields)}
        server.stop(signal.SIGKILL)
        (folder / "answers.json").write_text(json.dumps(told, sort_keys=True))
        with tarfile.open(HERE / "version1.tar.xz", "w:xz", preset=9) as packed:
            packed.add(folder / "data", "data", filter=plain)
            packed.add(folder / "answers.json", "answers.json", filter=plain)
            for name, data in parts.items():
                (folder / name).write_bytes(data)
                packed.add(folder / name, f"parts/{name}", filter=plain)


def plain(entry):
    """Nothing of this machine; no locks, no room that the store keeps back, no process's leftovers."""
    if entry.name.endswith((".reserve", ".lock", "/lock", "-shm")):
        return None
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    main()
