"""Requests for jobs against the dataset and model that they name, on the real programs: every wrong field is told at once
and before anything is queued, and a dataset of forty classes is trained, evaluated and predicted like one of four."""
import csv
import io
import itertools
import string
import sys

import pytest

pytest.importorskip("numpy")

from conftest import ROOT, Server  # noqa: E402

sys.path.insert(0, str(ROOT / "tests/corpus"))
from small_tree import SmallTree  # noqa: E402
from test_failures import ARCHITECTURE, start_job, wait_end  # noqa: E402

MANY = ["".join(letters) for letters in itertools.product(string.ascii_lowercase, repeat=3)][:40]
FEATURES = {"preset": "mel-16k", "mel": {"clip_seconds": 1}}
TRAIN = {"type": "train", "dataset": "few", "architecture": ARCHITECTURE, "model": "m",
         "split": {"kind": "random", "validation": 0.5, "seed": 1}, "training": {"epochs": 1, "batch_size": 8}}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("requests")
    SmallTree(folder / "corpora/few")
    SmallTree(folder / "corpora/many", labels=MANY)
    (folder / "server").mkdir()
    server = Server(folder / "server", import_root=folder / "corpora", job_threads=1)
    labels = {f"c{i:02}": [label] for i, label in enumerate(MANY)}
    for name, extra in (("few", {}), ("many", {"labels": labels})):
        body = {"name": name, "source": {"path": name}, "features": FEATURES} | extra
        assert wait_end(server, start_job(server, "/v1/datasets", body))["state"] == "succeeded"
    server.wav = next((folder / "corpora/many").rglob("*.wav")).read_bytes()
    yield server
    assert server.stop() == 0


def refuse(server, body, path="/v1/jobs"):
    """The pointers of a refused body; nothing was queued."""
    before = server.get("/v1/jobs").json()
    answer = server.post_json(path, body)
    assert answer.status == 422, answer.body
    assert server.get("/v1/jobs").json() == before
    errors = answer.json()["errors"]
    assert answer.json()["detail"] == errors[0]["detail"] and all(e["detail"] for e in errors)
    return sorted(e["pointer"] for e in errors)


def test_all_wrong_fields_of_a_training(server):
    body = {"type": "train", "dataset": "nowhere", "model": "a/b", "colour": 1, "device": "gpu", "architecture": "none",
            "split": {"kind": "random", "validation": 2, "test": "x", "seeds": 1},
            "training": {"epochs": 0, "batch_size": "many", "rate": 1, "schedule": {"kind": "magic", "patience": -1},
                         "early_stopping": {"patience": 0.5}, "class_weights": {"angry": 0, "sad": "x", "happy": 1}}}
    assert refuse(server, body) == sorted([
        "/dataset", "/model", "/colour", "/device", "/architecture", "/split/seeds", "/training/epochs",
        "/training/batch_size", "/training/rate", "/training/schedule/kind", "/training/schedule/patience",
        "/training/early_stopping/patience", "/training/class_weights/angry", "/training/class_weights/sad"])
    split = {"kind": "random", "validation": 2, "test": "x"}
    assert refuse(server, TRAIN | {"split": split}) == ["/split/test", "/split/validation"]
    assert refuse(server, TRAIN | {"a/b~c": 1, "dataset": 7}) == ["/a~1b~0c", "/dataset"]


def test_all_wrong_fields_of_others(server):
    assert refuse(server, {"type": "evaluate", "model": "nobody", "dataset": "nowhere", "epochs": 3, "precision": "fp8"}
                  ) == ["/dataset", "/epochs", "/model", "/precision"]
    body = {"name": "a b", "layout": "none", "source": {"path": "../x"}, "colour": 1,
            "features": {"preset": "x", "mel": {"mels": 0, "hertz": 1}, "motion": {"x": 1}}, "labels": {"A": ["tab\there"]}}
    assert refuse(server, body, "/v1/datasets") == sorted([
        "/name", "/layout", "/source/path", "/colour", "/features/preset", "/features/mel/mels", "/features/mel/hertz",
        "/features/motion/x", "/labels/A"])


def test_names_that_the_dataset_lacks(server):
    split = {"kind": "speakers", "validation": ["Ses09F", "Ses01F"], "test": ["Ses01F", "nobody"]}
    training = {"epochs": 1, "class_weights": {"angry": 2, "joy": 1, "x/y": 1}}
    assert refuse(server, TRAIN | {"split": split, "training": training}) == sorted([
        "/split/validation/0", "/split/test/0", "/split/test/1", "/training/class_weights/joy",
        "/training/class_weights/x~1y"])
    everyone = {"kind": "speakers", "validation": ["Ses01F", "Ses01M", "Ses02F", "Ses02M"]}
    assert refuse(server, TRAIN | {"split": everyone}) == ["/split"]


def test_forty_classes(server):
    done = wait_end(server, start_job(server, "/v1/jobs", TRAIN | {
        "dataset": "many", "model": "many", "training": {"epochs": 2, "batch_size": 8, "class_weights": {"c39": 2}}}))
    assert done["state"] == "succeeded", done["error"]
    evaluated = wait_end(server, start_job(server, "/v1/jobs", {
        "type": "evaluate", "dataset": "many", "model": "many:1", "part": "all"}))
    assert evaluated["state"] == "succeeded", evaluated["error"]
    assert len(evaluated["result"]["metrics"]["recall"]) == 40
    prediction = server.post_form("/v1/predictions", {"model": "many:1", "audio": ("u.wav", server.wav)})
    assert prediction.status == 200 and len(prediction.json()["probabilities"]) == 40
    rows = list(csv.DictReader(io.StringIO(server.get(f"/v1/jobs/{done['id']}/metrics?format=csv").body.decode())))
    assert len(rows) == 2 and rows[1]["val_recall_c39"]
    assert server.get(f"/v1/jobs/{done['id']}/plot.svg").status == 200


def test_evaluation_of_other_classes(server):
    done = wait_end(server, start_job(server, "/v1/jobs", TRAIN | {"model": "few"}))
    assert done["state"] == "succeeded", done["error"]
    body = {"type": "evaluate", "dataset": "many", "model": "few:1", "part": "all"}
    assert refuse(server, body) == ["/dataset"]


def test_more_classes_than_there_may_be(server):
    labels = {f"c{i:02}": [label] for i, label in enumerate(MANY)} | {f"d{i:02}": [f"zz{c}"] for i, c in enumerate(
        string.ascii_lowercase)}
    body = {"name": "toomany", "source": {"path": "many"}, "labels": labels}
    answer = server.post_json("/v1/datasets", body)
    assert answer.status == 422 and "64 classes" in answer.json()["detail"]
