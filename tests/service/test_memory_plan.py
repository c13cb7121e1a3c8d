"""The memory that a training plans is what it takes, and `affect train --dry-run` says it."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
AFFECT = pathlib.Path(os.environ.get("AFFECT_BUILD", ROOT / "build")).resolve() / "bin/affect"
sys.path.insert(0, str(ROOT / "tests/bench"))

import kill_resume


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    pytest.importorskip("numpy")
    if not shutil.which("espeak-ng"):
        pytest.skip("espeak-ng is not installed: no demo corpus")
    return kill_resume.make_dataset(AFFECT, tmp_path_factory.mktemp("plan"))


def anonymous_bytes(pid):
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def train_watched(dataset, output, architecture, batch_size, memory_bytes=None):
    """The plan that it told, and the most anonymous memory seen (looked at every millisecond)."""
    spec = {"dataset": str(dataset), "output": str(output), "threads": 2, "architecture": architecture,
            "device": "cpu", "training": {"epochs": 3, "batch_size": batch_size},
            "split": {"kind": "random", "validation": 0.45}}  # both parts fill the largest batch, as a true corpus' do
    if memory_bytes:
        spec["memory_bytes"] = memory_bytes
    output.mkdir()
    (output / "spec.json").write_text(json.dumps(spec))
    process = subprocess.Popen([AFFECT, "train", "--spec", output / "spec.json", "--events"],
                               stdout=subprocess.PIPE)
    peak = 0

    def watch():
        nonlocal peak
        while process.poll() is None:
            peak = max(peak, anonymous_bytes(process.pid))
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    events = [json.loads(line) for line in process.stdout]
    watcher.join()
    assert process.returncode == 0, events[-1]
    return next(e["plan"] for e in events if "plan" in e), peak


def check_peak(plan, peak):
    """Peak anonymous memory less that before the plan, within a tenth of the plan."""
    taken = peak - plan["anonymous_bytes_before"]
    print(f"batch {plan['batch_size']}, {plan['pieces']} pieces: planned {plan['bytes']}, taken {taken}")
    assert abs(taken - plan["bytes"]["total"]) <= 0.1 * plan["bytes"]["total"]


NARROW = {  # convolutions without pooling, no recurrent layer over the sound, batch normalisation
    "name": "narrow",
    "inputs": {"audio": {"feature": "mel", "shape": ["$frames", "$mels", 1]},
               "motion": {"feature": "motion", "shape": ["$parts", "$columns"]}},
    "branches": {
        "audio": {"input": "audio", "layers": [
            {"type": "time_distributed", "layer": {"type": "conv1d", "name": "a1", "filters": 24, "kernel_size": 5,
                                                   "activation": "relu"}},
            {"type": "time_distributed", "layer": {"type": "flatten", "name": "a2"}},
            {"type": "time_distributed", "layer": {"type": "dense", "name": "a3", "units": 32, "activation": "relu"}},
            {"type": "flatten", "name": "a4"}, {"type": "dense", "name": "a5", "units": 64, "activation": "relu"}]},
        "motion": {"input": "motion", "layers": [
            {"type": "conv1d", "name": "m1", "filters": 64, "kernel_size": 3, "activation": "relu"},
            {"type": "batch_norm", "name": "m2"}, {"type": "lstm", "name": "m3", "units": 48}]}},
    "fusion": {"branches": ["audio", "motion"], "layers": [
        {"type": "concatenate", "name": "both"},
        {"type": "dense", "name": "output", "units": "$classes", "activation": "softmax"}]},
}
ARCHITECTURES = {"paper-optimized": "paper-optimized", "paper-base": "paper-base", "audio-only": "audio-only",
                 "motion-only": "motion-only", "narrow": NARROW}


@pytest.mark.parametrize("batch_size", [1, 8, 24])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_peak_is_as_planned(dataset, tmp_path, architecture, batch_size):
    plan, peak = train_watched(dataset, tmp_path / "out", ARCHITECTURES[architecture], batch_size)
    assert plan["batch_size"] == batch_size and plan["pieces"] == 1
    check_peak(plan, peak)


@pytest.mark.parametrize("architecture", ["paper-optimized", "motion-only", "narrow"])
def test_peak_of_pieces_is_as_planned(dataset, tmp_path, architecture):
    """A batch that does not fit: computed in pieces, gradients added up."""
    whole, _ = train_watched(dataset, tmp_path / "whole", ARCHITECTURES[architecture], 24)
    few, _ = train_watched(dataset, tmp_path / "few", ARCHITECTURES[architecture], 4)
    limit = (whole["bytes"]["total"] + few["bytes"]["total"]) // 2
    plan, peak = train_watched(dataset, tmp_path / "pieces", ARCHITECTURES[architecture], 24, limit)
    assert plan["pieces"] > 1 and plan["rows_at_once"] < 24 and plan["bytes"]["total"] <= limit
    check_peak(plan, peak)


def dry_run(dataset, *flags):
    done = subprocess.run([AFFECT, "train", "-d", dataset, "--dry-run", "--threads", "2", *flags],
                          capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)


def test_dry_run(dataset, tmp_path):
    told = dry_run(dataset, "-o", str(tmp_path / "none"), "--training", '{"batch_size": 16, "epochs": 7}')
    assert not (tmp_path / "none").exists(), "a dry run writes nothing"
    assert told["parameters"] > 1e6 and told["fits"] and told["pieces"] == 1
    assert told["epochs"] == 7 and told["seconds_per_epoch"] > 0
    assert told["seconds"] == pytest.approx(7 * told["seconds_per_epoch"])
    assert told["largest_batch"] == told["utterances"]["training"]
    parts = {name: n for name, n in told["bytes"].items() if name != "total"}
    assert sum(parts.values()) == told["bytes"]["total"] < told["memory_limit_bytes"]


def test_largest_batch_is_the_border(dataset):
    """It fits in the limit, one more does not; a larger batch is computed in pieces of no more."""
    limit = str(dry_run(dataset, "--training", '{"batch_size": 10}')["bytes"]["total"] + 1000000)
    told = dry_run(dataset, "--memory-bytes", limit, "--training", '{"batch_size": 32}')
    largest = told["largest_batch"]
    assert 10 <= largest < 32 and told["pieces"] > 1 and told["bytes"]["total"] <= int(limit)
    for batch_size, pieces in ((largest, 1), (largest + 1, 2)):
        of_size = dry_run(dataset, "--memory-bytes", limit, "--training",
                          json.dumps({"batch_size": batch_size}))
        assert of_size["pieces"] == pieces
    nothing = dry_run(dataset, "--memory-bytes", "1000000")
    assert not nothing["fits"] and nothing["largest_batch"] == 0
    assert nothing["seconds_per_epoch"] is None
