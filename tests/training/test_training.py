"""`affect train`, `evaluate` and `predict` from outside, on a small spoken corpus and a small network:
what a run says, what it leaves, and that the same numbers come out of every way to them.

AFFECT_BINARY names the program (default build/bin/affect). Without espeak-ng or numpy all is skipped.
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest

np = pytest.importorskip("numpy")

ROOT = pathlib.Path(__file__).resolve().parents[2]
AFFECT = os.environ.get("AFFECT_BINARY", str(ROOT / "build/bin/affect"))
pytestmark = [pytest.mark.skipif(not os.path.exists(AFFECT), reason=f"no program {AFFECT}"),
              pytest.mark.skipif(not shutil.which("espeak-ng"), reason="no espeak-ng here")]

CLASSES = ["angry", "happy", "neutral", "sad"]
FEATURES = {"preset": "mel-16k", "mel": {"clip_seconds": 1.5, "n_mels": 32}}
TRAINING = {"epochs": 2, "batch_size": 8, "learning_rate": 0.002, "seed": 3}


def conv(name, filters, **more):
    return {"type": "conv1d", "name": name, "filters": filters, "kernel_size": 3, "activation": "relu", **more}


ARCHITECTURE = {
    "name": "small",
    "variables": {"dropout": 0.3, "l2": 0.001},
    "inputs": {"audio": {"feature": "mel", "shape": ["$frames", "$mels", 1]},
               "motion": {"feature": "motion", "shape": ["$parts", "$columns"]}},
    "branches": {
        "audio": {"input": "audio", "layers": [
            {"type": "time_distributed", "layer": conv("conv_1", 4, l2="$l2")},
            {"type": "time_distributed", "layer": {"type": "maxpool1d", "name": "pool_1", "pool_size": 4}},
            {"type": "time_distributed", "layer": {"type": "flatten", "name": "flatten"}},
            {"type": "bidirectional", "layer": {"type": "lstm", "name": "bilstm_1", "units": 6}},
            {"type": "dropout", "name": "dropout_1", "rate": "$dropout"}]},
        "motion": {"input": "motion", "layers": [
            conv("conv_1", 8), {"type": "batch_norm", "name": "bn_1"},
            {"type": "maxpool1d", "name": "pool_1", "pool_size": 4},
            {"type": "flatten", "name": "flatten"},
            {"type": "dense", "name": "dense", "units": 8, "activation": "relu"}]}},
    "fusion": {"branches": ["audio", "motion"], "layers": [
        {"type": "concatenate", "name": "concatenate"},
        {"type": "dense", "name": "output", "units": "$classes", "activation": "softmax"}]},
}


def affect(*arguments, timeout=240):
    return subprocess.run([AFFECT, *map(str, arguments)], capture_output=True, text=True, timeout=timeout)


class Job:
    """One run of a worker with --events: its exit code, its events, its end."""

    def __init__(self, *arguments):
        done = affect(*arguments, "--events")
        self.code, self.stderr = done.returncode, done.stderr
        self.events = [json.loads(line) for line in done.stdout.splitlines()]
        self.end = self.events[-1]

    def kind(self, name):
        return [event for event in self.events if event["event"] == name]

    def succeeded(self):
        assert self.code == 0 and self.end["event"] == "end", (self.end, self.stderr)
        assert self.end["state"] == "succeeded", self.end
        return self


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus") / "IEMOCAP"
    subprocess.run([sys.executable, ROOT / "tests/corpus/make_corpus.py", root, "--utterances", "48", "--speakers", "4",
                    "--seed", "5", "--max-seconds", "2"], check=True, capture_output=True, timeout=300)
    return root


@pytest.fixture(scope="module")
def dataset(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataset")
    Job("import", corpus, "--store", folder / "store", "-o", folder / "small", "--features",
        json.dumps(FEATURES)).succeeded()
    return folder / "small"


@pytest.fixture(scope="module")
def architecture(tmp_path_factory):
    path = tmp_path_factory.mktemp("architecture") / "small.json"
    path.write_text(json.dumps(ARCHITECTURE))
    return path


@pytest.fixture(scope="module")
def train(dataset, architecture):
    def run(output, split=None, variables=None, **training):
        arguments = ["train", "-d", dataset, "-o", output, "-a", architecture, "-t", "2", "--device", "cpu",
                     "--training", json.dumps({**TRAINING, **training})]
        if split:
            arguments += ["--split", json.dumps(split)]
        if variables:
            arguments += ["--variables", json.dumps(variables)]
        return Job(*arguments)

    return run


@pytest.fixture(scope="module")
def first(train, tmp_path_factory):
    """(job, folder) of an undisturbed run that the tests below look at."""
    folder = tmp_path_factory.mktemp("first")
    return train(folder).succeeded(), folder


def tensors(path):
    """{name: (dtype, shape, bytes)} of a safetensors file."""
    raw = pathlib.Path(path).read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    header.pop("__metadata__", None)
    return {name: (row["dtype"], tuple(row["shape"]), raw[8 + size :][slice(*row["data_offsets"])])
            for name, row in header.items()}


def metadata(path):
    raw = pathlib.Path(path).read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    return {name: json.loads(text) for name, text in header["__metadata__"].items()}


def evaluate(model, dataset, part="validation"):
    folder = pathlib.Path(tempfile.mkdtemp(dir=pathlib.Path(model).parent))
    job = Job("evaluate", "-m", model, "-d", dataset, "-p", part, "-t", "2", "--device", "cpu", "-o", folder).succeeded()
    assert job.end["result"]["artifacts"] == ["predictions.jsonl", "predictions.csv"]
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    return job.end["result"] | {"predictions": rows}


def test_what_a_run_says(first):
    job, _ = first
    assert job.events[0]["event"] == "hello" and job.events[0]["protocol"] == 1
    assert [e["state"] for e in job.kind("state")] == ["preparing", "running"]
    epochs = job.kind("epoch")
    assert [e["epoch"] for e in epochs] == [1, 2] and all(e["epochs"] == 2 for e in epochs)
    for event in epochs:
        for prefix in ("", "val_"):
            for name in ("loss", "cross_entropy", "l2", "accuracy", "f1_macro", "f1_weighted"):
                assert isinstance(event[prefix + name], (int, float)), prefix + name
            assert event[prefix + "loss"] == pytest.approx(event[prefix + "cross_entropy"] + event[prefix + "l2"])
            assert list(event[prefix + "recall"]) == CLASSES
            confusion = np.array(event[prefix + "confusion"])
            assert confusion.shape == (4, 4)
            assert event[prefix + "accuracy"] == pytest.approx(np.trace(confusion) / confusion.sum())
        assert event["gap"] == pytest.approx(event["accuracy"] - event["val_accuracy"])
        assert event["l2"] > 0 and event["learning_rate"] == pytest.approx(0.002) and event["seconds"] > 0
    assert np.sum(epochs[0]["confusion"]) + np.sum(epochs[0]["val_confusion"]) == 48
    assert np.sum(epochs[0]["val_confusion"]) == 10  # ceil(0.2 * 48)
    assert {e["kind"] for e in job.kind("checkpoint")} == {"best", "last"}
    assert all(event["event"] in ("hello", "state", "progress", "epoch", "checkpoint", "log", "warning", "end")
               for event in job.events)


def test_what_a_run_leaves(first, dataset):
    job, folder = first
    assert sorted(path.name for path in folder.iterdir() if path.suffix) == [
        "best.safetensors", "last.safetensors", "predictions.csv", "predictions.jsonl"]
    best = tensors(folder / "best.safetensors")
    assert best["audio.conv_1.kernel"][:2] == ("F32", (3, 1, 4))
    assert best["audio.bilstm_1.forward_recurrent_kernel"][1] == (6, 24)
    assert best["motion.bn_1.moving_mean"][1] == (8,) and best["fusion.output.kernel"][1] == (20, 4)
    last = tensors(folder / "last.safetensors")
    assert set(best) < set(last)
    trained = {name for name in best if "moving" not in name}
    for moment in ("adam_m.", "adam_v."):
        assert {name.removeprefix(moment) for name in last if name.startswith(moment)} == trained
    said = metadata(folder / "best.safetensors")
    assert said["labels"] == CLASSES and said["architecture"]["name"] == "small"
    parts = said["split"]["utterances"]
    assert len(parts["training"]) == 38 and len(parts["validation"]) == 10
    assert not set(parts["training"]) & set(parts["validation"])
    assert job.end["result"]["selection"] == "optimistic"
    assert said["temperature"] == job.end["result"]["temperature"]["value"]


def test_same_seed_same_bytes(first, train, tmp_path):
    job, folder = first
    again = train(tmp_path / "again").succeeded()
    assert tensors(folder / "best.safetensors") == tensors(tmp_path / "again" / "best.safetensors")
    assert tensors(folder / "last.safetensors") == tensors(tmp_path / "again" / "last.safetensors")

    def curve(of):
        return [{k: v for k, v in e.items() if k != "seconds"} for e in of.kind("epoch")]

    assert curve(job) == curve(again)
    train(tmp_path / "other", seed=4).succeeded()
    other = tensors(tmp_path / "other" / "last.safetensors")
    same = [name for name, (_, _, data) in tensors(folder / "last.safetensors").items() if other[name][2] == data]
    assert same == []


def is_the_fit(predictions, evaluated, trained):
    """The temperature is that of least NLL on the validation part, and the report after it is of the scaled ones."""
    value = trained["value"]
    assert evaluated["value"] == value and 0.05 <= value <= 20
    p = np.array([[row["probabilities"][name] for name in CLASSES] for row in predictions])
    true = np.array([CLASSES.index(row["label"]) for row in predictions])

    def nll(temperature):
        scaled = p ** (1 / temperature)
        return -np.log(scaled[np.arange(len(true)), true] / scaled.sum(1)).mean()

    assert evaluated["calibration"]["nll"] == pytest.approx(nll(value), abs=1e-6)
    assert trained["calibration"]["nll"] == pytest.approx(nll(value), abs=1e-6)
    assert all(nll(value) <= nll(min(max(value * by, 0.05), 20)) for by in (0.9, 0.99, 1.01, 1.1))


def test_evaluate_repeats_the_best_epoch(first, dataset):
    job, folder = first
    best = next(e for e in job.kind("epoch") if e["epoch"] == job.end["result"]["best"]["epoch"])
    result = evaluate(folder / "best.safetensors", dataset)
    assert result["part"] == "validation" and result["utterances"] == 10
    assert result["selection"] == "optimistic"
    for name, value in result["metrics"].items():
        if name in ("recall", "confusion"):
            assert value == best["val_" + name], name
        else:
            assert value == pytest.approx(best["val_" + name], abs=1e-6), name
    assert len(result["predictions"]) == 10
    everything = evaluate(folder / "best.safetensors", dataset, "all")
    assert everything["utterances"] == 48
    is_the_fit(result["predictions"], result["temperature"], job.end["result"]["temperature"])
    rows = {row["utterance"]: row["probabilities"] for row in everything["predictions"]}
    for row in result["predictions"]:  # whatever else is in the batch
        assert row["probabilities"] == pytest.approx(rows[row["utterance"]], abs=1e-6)


def test_predict_repeats_evaluate(first, dataset, corpus):
    """From the recordings themselves: sound by sentence, motion by dialog with the turn's times."""
    _, folder = first
    rows = {row["utterance"]: row for row in evaluate(folder / "best.safetensors", dataset, "all")["predictions"]}
    turns = [turn for turn in json.loads((corpus / "expected.json").read_text())["list"] if turn["id"] in rows]
    chosen = [t for t in turns if t["own_motion"]][:2] + [t for t in turns if not t["own_motion"]][:1]
    assert len(chosen) == 3
    for turn in chosen:
        session = corpus / f"Session{int(turn['id'][3:5])}"
        motion = []
        for flag, name in (("--face", "rotated"), ("--head", "head"), ("--hand", "hand")):
            motion += [flag, session / f"dialog/MOCAP_{name}/{turn['dialog']}.txt"]
        done = affect("predict", "-m", folder / "best.safetensors", "--device", "cpu", "--audio",
                      session / f"sentences/wav/{turn['dialog']}/{turn['id']}.wav", *motion, "--start", turn["start"],
                      "--end", turn["end"])
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert answer["probabilities"] == pytest.approx(rows[turn["id"]]["probabilities"], abs=1e-5), turn["id"]
        assert answer["label"] == rows[turn["id"]]["predicted"]
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    scaled = json.loads(affect(*done.args[1:], "--calibrated").stdout)
    powers = {name: p ** (1 / scaled["temperature"]) for name, p in answer["probabilities"].items()}
    assert scaled["temperature"] == metadata(folder / "best.safetensors")["temperature"]
    assert scaled["probabilities"] == pytest.approx({name: p / sum(powers.values()) for name, p in powers.items()}, abs=1e-6)


def test_speakers_with_a_test_part(train, dataset, tmp_path):
    split = {"kind": "speakers", "validation": ["Ses02F"], "test": ["Ses02M"]}
    job = train(tmp_path / "m", split=split).succeeded()
    parts = metadata(tmp_path / "m/best.safetensors")["split"]["utterances"]
    assert parts["validation"] and all(u[:5] == "Ses02" and u.split("_")[-1][0] == "F" for u in parts["validation"])
    assert parts["test"] and all(u[:5] == "Ses02" and u.split("_")[-1][0] == "M" for u in parts["test"])
    assert all(u.startswith("Ses01") for u in parts["training"])
    told = job.end["result"]["test"]
    result = evaluate(tmp_path / "m/best.safetensors", dataset, "test")
    assert result["utterances"] == len(parts["test"]) and "selection" not in result
    for name, value in told.items():
        if name not in ("recall", "confusion"):
            assert value == pytest.approx(result["metrics"][name], abs=1e-6), name
    assert told["confusion"] == result["metrics"]["confusion"]
    temperature = job.end["result"]["temperature"]  # fitted on the validation part, reported of the test part
    assert temperature["value"] == result["temperature"]["value"]
    assert temperature["calibration"]["nll"] == pytest.approx(result["temperature"]["calibration"]["nll"], abs=1e-6)
    fitted = evaluate(tmp_path / "m/best.safetensors", dataset)
    is_the_fit(fitted["predictions"], fitted["temperature"], fitted["temperature"])


def test_class_weights_change_the_training(first, train, tmp_path):
    _, folder = first
    plain = tensors(folder / "last.safetensors")["fusion.output.kernel"]
    kernels = [plain]
    for number, weights in enumerate(["balanced", {"sad": 5, "angry": 0.5}]):
        train(tmp_path / str(number), class_weights=weights).succeeded()
        kernels.append(tensors(tmp_path / str(number) / "last.safetensors")["fusion.output.kernel"])
    assert len({data for _, _, data in kernels}) == 3
    train(tmp_path / "none", class_weights="none").succeeded()
    assert tensors(tmp_path / "none/last.safetensors")["fusion.output.kernel"] == plain


def test_variables_reach_the_network(first, train, tmp_path):
    job, _ = first
    more = train(tmp_path / "m", variables={"l2": 0.1}, epochs=1).succeeded()
    assert more.kind("epoch")[0]["l2"] > 20 * job.kind("epoch")[0]["l2"]
    unknown = train(tmp_path / "n", variables={"l3": 0.1})
    assert unknown.end["state"] == "failed" and "l3" in unknown.end["error"]["message"]


def test_early_stopping(train, tmp_path):
    job = train(tmp_path / "m", epochs=30, learning_rate=1e-9, early_stopping={"patience": 2, "min_delta": 0.5})
    job.succeeded()
    assert len(job.kind("epoch")) == 3 and job.end["result"]["stopped_early"] is True


def test_diverged(dataset, tmp_path):
    """Twenty layers in a row without an activation: after one step of rate 10 floats overflow."""
    layers = [{"type": "dense", "name": f"dense_{n}", "units": 16} for n in range(1, 21)]
    deep = {"name": "deep", "inputs": {"motion": ARCHITECTURE["inputs"]["motion"]},
            "branches": {"motion": {"input": "motion", "layers": [{"type": "flatten", "name": "flatten"}, *layers]}},
            "fusion": {"branches": ["motion"], "layers": [
                {"type": "dense", "name": "output", "units": "$classes", "activation": "softmax"}]}}
    (tmp_path / "deep.json").write_text(json.dumps(deep))
    job = Job("train", "-d", dataset, "-o", tmp_path / "m", "-a", tmp_path / "deep.json", "--training",
              json.dumps({**TRAINING, "learning_rate": 10, "epochs": 5}))
    assert job.code == 1 and job.end["state"] == "failed" and job.end["reason"] == "diverged", job.end
    assert job.end["error"]["code"] == "diverged" and "not a number" in job.end["error"]["message"]


@pytest.mark.parametrize("training, pointer", [({"learning_rat": 1}, "/training/learning_rat"),
                                               ({"epochs": 0}, "/training/epochs"),
                                               ({"class_weights": {"sad": -1}}, "/training/class_weights/sad")])
def test_wrong_fields_are_named(train, tmp_path, training, pointer):
    job = train(tmp_path / "m", **training)
    assert job.code != 0 and job.end["state"] == "failed"
    assert job.end["error"]["code"] == "invalid" and job.end["error"]["pointer"] == pointer
    assert not (tmp_path / "m/best.safetensors").exists()


def test_a_class_that_the_dataset_lacks(train, tmp_path):
    job = train(tmp_path / "m", class_weights={"bored": 2})
    assert job.end["state"] == "failed" and "bored" in job.end["error"]["message"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_cancels(dataset, architecture, tmp_path, number):
    process = subprocess.Popen(
        [AFFECT, "train", "-d", dataset, "-o", tmp_path / "m", "-a", architecture, "--events", "--training",
         json.dumps({**TRAINING, "epochs": 100000})], stdout=subprocess.PIPE, text=True)
    seen = []
    for line in process.stdout:
        seen.append(json.loads(line))
        if seen[-1]["event"] == "epoch" and seen[-1]["epoch"] == 1:
            process.send_signal(number)
    process.wait(60)
    assert seen[-1]["event"] == "end" and seen[-1]["state"] == "cancelled", seen[-1]
    assert tensors(tmp_path / "m/best.safetensors")  # what was finished stays
    assert [p.name for p in (tmp_path / "m").iterdir() if "aside" in p.name] == []


def test_the_end_of_stdin_cancels_a_supervised_worker(dataset, architecture, tmp_path):
    process = subprocess.Popen(
        [AFFECT, "train", "-d", dataset, "-o", tmp_path / "m", "-a", architecture, "--events", "--supervised",
         "--training", json.dumps({**TRAINING, "epochs": 100000})], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True)
    seen = []
    for line in process.stdout:
        seen.append(json.loads(line))
        if seen[-1]["event"] == "epoch" and not process.stdin.closed:
            process.stdin.close()
    process.wait(60)
    assert seen[-1]["event"] == "end" and seen[-1]["state"] == "cancelled", seen[-1]


@pytest.mark.parametrize("monitor", ["val_recall_mean", "val_f1_macro", "val_accuracy", "val_loss"])
def test_the_best_epoch_is_the_monitored_one(train, tmp_path, monitor):
    job = train(tmp_path / "out", epochs=8, batch_size=12, best=monitor,
                early_stopping={"patience": 2, "monitor": monitor}).succeeded()
    epochs = job.kind("epoch")
    sign = -1 if monitor == "val_loss" else 1
    values = [sign * e[monitor] for e in epochs]
    assert job.end["result"]["best"]["epoch"] == 1 + values.index(max(values))
    waited, best, stop = 0, float("-inf"), len(values)
    for i, value in enumerate(values):
        waited = 0 if value > best else waited + 1
        best = max(best, value)
        if waited >= 2:
            stop = i + 1
            break
    assert len(values) == min(stop, 8)
