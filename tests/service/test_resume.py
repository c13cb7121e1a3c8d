"""A training that is paused, or whose server is killed, goes on from its checkpoint to the same bits."""
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
EPOCHS = 8


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    if not shutil.which("espeak-ng"):
        pytest.skip("espeak-ng is not installed: no demo corpus")
    folder = tmp_path_factory.mktemp("corpus")
    subprocess.run([sys.executable, ROOT / "tests/corpus/make_corpus.py", folder / "demo",
                    "--utterances", "40", "--speakers", "4", "--seed", "3"], check=True, timeout=120,
                   stdout=subprocess.DEVNULL)
    return folder


def wait_for_end(server, job):
    server.wait_for(lambda: server.get(f"/v1/jobs/{job}").json()["terminal"], f"end of {job}", 120)
    return server.get(f"/v1/jobs/{job}").json()


def start_training(server, model):
    answer = server.post_json("/v1/jobs", {
        "type": "train", "dataset": "demo", "architecture": "paper-optimized", "model": model,
        "training": {"epochs": EPOCHS, "batch_size": 8, "seed": 5,
                     "schedule": {"kind": "plateau", "patience": 1}}})
    assert answer.status == 202, answer.body
    return answer.json()["id"]


def epochs_told(server, job):
    events = server.get(f"/v1/jobs/{job}/events?limit=1000").json()["data"]
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    return [e for e in events if e["event"] == "epoch"]


def tensors(server, model):
    from safetensors.numpy import load
    found = load(server.get(f"/v1/models/{model}/versions/1/artifact").body)
    return {name: tensor.tobytes() for name, tensor in found.items()}


def test_kill_and_restart_give_the_same_bits(corpus, make_server):
    pytest.importorskip("safetensors")
    server = make_server(import_root=corpus, job_threads=2)
    job = server.post_json("/v1/datasets", {"name": "demo", "layout": "iemocap", "source": {"path": "demo"},
                                            "features": {"mel": {"clip_seconds": 1}}}).json()["id"]
    assert wait_for_end(server, job)["state"] == "succeeded"
    undisturbed = start_training(server, "undisturbed")
    assert wait_for_end(server, undisturbed)["state"] == "succeeded"

    disturbed = start_training(server, "disturbed")
    for wanted in (2, 4):
        server.wait_for(lambda: len(epochs_told(server, disturbed)) >= wanted, "epochs", 60)
        server.stop(signal.SIGKILL)
        time.sleep(0.2)
        server.start()
    assert wait_for_end(server, disturbed)["state"] == "succeeded"

    told = epochs_told(server, disturbed)
    first = {}
    for event in told:
        assert event.get("replayed", False) == (event["epoch"] in first)
        first.setdefault(event["epoch"], event)
    assert sorted(first) == list(range(1, EPOCHS + 1))
    assert len(told) > EPOCHS, "no epoch was told again: the training was never disturbed"
    for event in told + epochs_told(server, undisturbed):
        for number in ("loss", "val_loss", "val_confusion", "learning_rate"):
            assert event[number] == first[event["epoch"]][number]
    assert tensors(server, "disturbed") == tensors(server, "undisturbed")


def ask(server, job, action):
    return server.request("POST", f"/v1/jobs/{job}/{action}")


def state_of(server, job):
    return server.get(f"/v1/jobs/{job}").json()["state"]


def test_pause_and_resume_give_the_same_bits(corpus, make_server):
    pytest.importorskip("safetensors")
    server = make_server(import_root=corpus, job_threads=2)
    imported = server.post_json("/v1/datasets", {
        "name": "demo", "layout": "iemocap", "source": {"path": "demo"},
        "features": {"mel": {"clip_seconds": 1}}}).json()["id"]
    assert wait_for_end(server, imported)["state"] == "succeeded"
    body = {"type": "train", "dataset": "demo", "model": "m", "training": {"batch_size": 8}}
    told = server.post_json("/v1/jobs?dry_run=true", body)
    assert told.status == 200, told.body
    assert told.json()["parameters"] > 1e6 and told.json()["seconds_per_epoch"] > 0
    assert told.json()["largest_batch"] >= 8 and told.json()["bytes"]["total"] > 1e7
    split = {"kind": "speakers", "validation": ["Ses09F"]}
    assert server.post_json("/v1/jobs?dry_run=true", body | {"split": split}).status == 422
    assert server.post_json("/v1/jobs?dry_run=maybe", body).status == 422
    assert len(server.get("/v1/jobs").json()["data"]) == 1, "a dry run makes no job"
    refused = ask(server, imported, "pause")
    assert refused.status == 409 and refused.json()["allowed"] == []
    undisturbed = start_training(server, "undisturbed")
    assert wait_for_end(server, undisturbed)["state"] == "succeeded"

    job = start_training(server, "disturbed")
    for wanted in (1, 3):
        server.wait_for(lambda: len({e["epoch"] for e in epochs_told(server, job)}) >= wanted, "epochs", 60)
        assert ask(server, job, "pause").status == 202
        assert ask(server, job, "pause").status == 200
        server.wait_for(lambda: state_of(server, job) == "paused", "the pause", 30)
        assert ask(server, job, "pause").status == 200
        if wanted == 1:  # a paused job stays so over a restart
            server.stop()
            server.start()
            assert state_of(server, job) == "paused"
        assert ask(server, job, "resume").status == 202
        assert ask(server, job, "resume").status == 200
    body = wait_for_end(server, job)
    assert body["state"] == "succeeded" and body["restarts"] == 0
    for event in epochs_told(server, job) + epochs_told(server, undisturbed):
        same = next(e for e in epochs_told(server, undisturbed) if e["epoch"] == event["epoch"])
        for number in ("loss", "val_loss", "val_confusion", "learning_rate"):
            assert event[number] == same[number]
    assert tensors(server, "disturbed") == tensors(server, "undisturbed")
    for action in ("pause", "resume"):
        refused = ask(server, job, action)
        assert refused.status == 409 and refused.json()["allowed"] == []

    job = start_training(server, "given-up")
    server.wait_for(lambda: state_of(server, job) == "running", "running", 30)
    assert ask(server, job, "pause").status == 202
    server.wait_for(lambda: state_of(server, job) == "paused", "the pause", 30)
    assert ask(server, job, "cancel").status == 202
    assert state_of(server, job) == "cancelled"
