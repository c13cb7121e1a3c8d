"""/v1/architectures: every preset, with the numbers that `affect inspect` gives for a model of it."""
import json
import pathlib
import subprocess

import pytest

from conftest import BUILD
from test_contract import check

MODELS = pathlib.Path(__file__).resolve().parents[2] / "configs/models"
PRESETS = {path.stem: json.loads(path.read_text()) for path in sorted(MODELS.glob("*.json"))}
SIZES = {"frames": 501, "mels": 128, "parts": 200, "columns": 189, "classes": 4}
SHAPES = {"mel": [501, 128, 1], "motion": [200, 189]}


def inspect(*arguments):
    return subprocess.run([BUILD / "bin/affect", "inspect", *map(str, arguments)], check=True, capture_output=True,
                          text=True, timeout=60).stdout


def test_every_preset_is_listed(steady):
    listed = check(steady.get("/v1/architectures"), "get", "/v1/architectures")["data"]
    assert [one["name"] for one in listed] == list(PRESETS) and len(listed) >= 4
    for one in listed:
        document = PRESETS[one["name"]]
        assert one.get("description") == document.get("description")
        assert one["variables"] == document.get("variables", {}) and one["sizes"] == SIZES
        assert one["inputs"] == {name: {"feature": given["feature"], "shape": SHAPES[given["feature"]]}
                                 for name, given in document["inputs"].items()}
        assert "architecture" not in one
        alone = check(steady.get(f"/v1/architectures/{one['name']}"), "get", "/v1/architectures/{name}")
        assert alone == one | {"architecture": document}
    assert check(steady.get("/v1/architectures"), "get", "/v1/architectures")["data"] == listed
    assert steady.get("/").json()["links"]["architectures"] == "/v1/architectures"


def test_parameters_are_those_of_a_model(server, tmp_path):
    for name in PRESETS:
        listed = server.get(f"/v1/architectures/{name}").json()
        inspect("--init", name, "--device", "cpu", "--output", tmp_path / name)
        shown = json.loads(inspect(tmp_path / name, "--json"))
        for member in ("inputs", "parameters", "trainable", "statistics"):
            assert listed[member] == shown[member], (name, member)
        assert listed["sizes"] == shown["metadata"]["sizes"]
        assert listed["parameters"] == listed["trainable"] + listed["statistics"] > 0
        numbers = {True: 0, False: 0}
        for tensor in shown["tensors"]:
            n = 1
            for size in tensor["shape"]:
                n *= size
            numbers[tensor["trainable"]] += n
        assert numbers == {True: listed["trainable"], False: listed["statistics"]}
    assert server.get("/v1/architectures/paper-optimized").json()["parameters"] == 1129572  # as the study says


@pytest.mark.parametrize("name", ["paper-worst", "paper-base.json", "..%2Fserver", "Paper-Base", "paper-base%20", "x" * 500])
def test_an_unknown_preset_is_not_found(steady, name):
    answer = steady.get(f"/v1/architectures/{name}")
    assert answer.status == 404 and answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"


def test_an_unknown_preset_names_those_there_are(steady):
    body = check(steady.get("/v1/architectures/paper-worst"), "get", "/v1/architectures/{name}")
    assert all(name in body["detail"] for name in ("paper-worst", *PRESETS))


@pytest.mark.parametrize("path", ["/v1/architectures", "/v1/architectures/paper-base"])
def test_queries_and_other_methods_are_refused(steady, path):
    answer = steady.get(f"{path}?limit=1")
    assert answer.status == 422 and "unknown query" in answer.json()["detail"]
    assert steady.request("POST", path, b"{}").status == 405
    assert steady.request("HEAD", path).status == 200
