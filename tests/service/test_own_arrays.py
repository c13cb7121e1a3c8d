"""Embeddings over HTTP: a table with arrays is imported, networks on an embedding alone and beside sound are trained and
answer; what is wrong with an array, a name or a network is said.
"""
import io
import json
import pathlib
import sys
import tarfile

import numpy as np
import pytest
from safetensors.numpy import save

from test_jobs import wait_end

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "corpus"))
from embeddings import FEATURES, NETWORK, SIZE, corpus, sequence, vector  # noqa: E402

ALONE = {"inputs": {"vec": {"feature": "embedding:vec"}},
         "branches": {"vec": {"input": "vec", "layers": [{"type": "dense", "name": "dense", "units": 8, "activation": "relu"}]}},
         "fusion": {"branches": ["vec"], "layers": [{"type": "dense", "name": "output", "units": "$classes", "activation": "softmax"}]}}


def array(numbers):
    out = io.BytesIO()
    np.save(out, numbers)
    return ("array.npy", out.getvalue())


@pytest.fixture
def server(make_server, tmp_path):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as out:
        out.add(corpus(tmp_path / "c"), "c")
    made = make_server()

    answer = made.post_form("/v1/datasets", {"name": "mine", "layout": "table", "features": json.dumps(FEATURES),
                                             "archive": ("c.tar.gz", packed.getvalue())})
    assert answer.status == 202, answer.body
    job = wait_end(made, answer.json()["id"])
    assert job["state"] == "succeeded", job.get("error")
    return made


def train(server, name, architecture):
    body = {"type": "train", "dataset": "mine", "model": name, "architecture": architecture, "training": {"epochs": 2},
            "split": {"kind": "speakers", "validation": ["s1"], "test": ["s2"]}}
    answer = server.post_json("/v1/jobs", body)
    assert answer.status == 202, answer.body
    job = wait_end(server, answer.json()["id"])
    assert job["state"] == "succeeded", job.get("error")


def predict(server, model, **parts):
    return server.post_form("/v1/predictions", {"model": model, **{name.replace("__", ":"): value for name, value in parts.items()}})


def test_alone_and_beside_sound(server, tmp_path):
    dataset = server.get("/v1/datasets/mine").json()
    assert dataset["streams"]["embedding:vec"] == 8, dataset
    train(server, "alone", ALONE)
    train(server, "all", NETWORK)
    answer = predict(server, "alone", embedding__vec=array(vector(0)))
    assert answer.status == 200 and set(answer.json()["streams"]) == {"embedding:vec"}, answer.body
    assert abs(sum(answer.json()["probabilities"].values()) - 1) < 1e-6
    sound = ("u.wav", (tmp_path / "c/0.wav").read_bytes())
    answer = predict(server, "all", audio=sound, embedding__vec=array(vector(0)), embedding__seq=array(sequence(0)))
    assert answer.status == 200 and answer.json()["warnings"] == [], answer.body
    without = predict(server, "all", audio=sound, embedding__vec=array(vector(0)))
    assert without.json()["warnings"] == ["embedding:seq: absent: taken as missing"]

    def refused(status, *words, **parts):
        wrong = predict(server, "all", **parts)
        assert wrong.status == status and all(word in wrong.json()["detail"] for word in words), wrong.body
    refused(422, "has the shape (4)", f"need ({SIZE})", embedding__vec=array(vector(0)[:4]))
    refused(422, "<f8", embedding__vec=array(np.float64(vector(0))))
    refused(422, "number 2 is not finite", embedding__vec=array(np.where(np.arange(SIZE) == 2, np.float32(np.nan), vector(0))))
    refused(422, "neither a .npy nor a safetensors", embedding__vec=("x", b"hello"))
    refused(422, "the model does not read it (it uses audio, embedding:seq, embedding:vec)", embedding__other=array(vector(0)))
    refused(422, "unknown part", embedding__Other=array(vector(0)))
    refused(422, "no stream", )
    model = server.get("/v1/models/all/versions/1").json()
    assert model["sizes"]["embedding"]["seq"] == {"frames": 4, "size": 3}


def test_networks_that_do_not_fit(server):
    for feature, reason in (("embedding:other", 'no "embedding:other"'), ("embedding:", "is not known"), ("text", "is not known"),
                            ("embedding", "is not known")):
        wrong = {**ALONE, "inputs": {"vec": {"feature": feature}}}
        answer = server.post_json("/v1/jobs", {"type": "train", "dataset": "mine", "model": "m", "architecture": wrong})
        assert answer.status == 422 and reason in answer.json()["detail"], answer.body
        assert answer.json()["errors"][0]["pointer"] == "/architecture/inputs/vec/feature"
    masked = {**ALONE, "inputs": {"vec": {"feature": "embedding:vec", "mask": True}}}
    answer = server.post_json("/v1/jobs", {"type": "train", "dataset": "mine", "model": "m", "architecture": masked})
    assert answer.status == 422 and "a vector has no padding" in answer.json()["detail"]


def test_many_parts(server):
    """The number of streams is bounded; one tensor of any name is an array, two are not."""
    train(server, "alone", ALONE)
    many = {f"embedding__e{i}": array(vector(0)) for i in range(13)}
    answer = predict(server, "alone", **many)
    assert answer.status == 422 and "more than 12 streams" in answer.json()["detail"], answer.body
    good = predict(server, "alone", embedding__vec=array(vector(1)))
    assert good.status == 200
    same = predict(server, "alone", embedding__vec=("v.safetensors", save({"anything": vector(1)})))
    assert same.json()["probabilities"] == good.json()["probabilities"]
    two = predict(server, "alone", embedding__vec=("v.safetensors", save({"a": vector(1), "b": vector(1)})))
    assert two.status == 422 and "has 2 tensors (need one)" in two.json()["detail"]
