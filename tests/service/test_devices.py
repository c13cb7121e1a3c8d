"""The GPU engine behind the service, on the emulation of CUDA (tests/cuda_host) and, where there is one, on
a real GPU: it is listed, jobs and predictions run on it with the CPU's numbers, trainings change between the
two, and what a device can do wrong ends a job, never the server."""
import copy
import json
import os
import pathlib
import subprocess
import sys

import pytest

np = pytest.importorskip("numpy")

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "corpus"))
from conftest import BUILD  # noqa: E402
from small_tree import SmallTree  # noqa: E402
from test_failures import IMPORT, SOUND, TRAIN, start_job, wait_end  # noqa: E402

EMULATED = BUILD / "tests" / "libaffect_cuda_host.so"
REAL = BUILD / "bin" / "libaffect_cuda.so"
ON_GPU = {**copy.deepcopy(TRAIN), "device": "cuda", "precision": "fp32", "training": {"epochs": 2, "batch_size": 4}}


@pytest.fixture
def gpu_server(monkeypatch, make_server, tmp_path):
    """gpu_server(fault="", plugin=EMULATED, **settings) -> a server whose children find that GPU, with a dataset."""
    def make(fault="", plugin=EMULATED, **settings):
        monkeypatch.setenv("AFFECT_CUDA_LIBRARY", str(plugin))
        monkeypatch.setenv("AFFECT_CUDA_HOST_FAULT", fault)
        if not (tmp_path / "corpora").exists():
            SmallTree(tmp_path / "corpora" / "tiny")
        server = make_server(import_root=tmp_path / "corpora", **settings)
        assert wait_end(server, start_job(server, "/v1/datasets", IMPORT))["state"] == "succeeded"
        return server

    return make


def epochs_of(server, job):
    events = server.get(f"/v1/jobs/{job}/events?limit=1000").json()["data"]
    return [event for event in events if event["event"] == "epoch"]


def predict(server, tree, model):
    answer = server.post_form("/v1/predictions", {"model": model, "audio": ("a.wav", (tree / SOUND).read_bytes())})
    assert answer.status == 200, answer.body
    return answer.json()["probabilities"]


def test_listed(gpu_server):
    system = gpu_server().get("/v1/system").json()
    assert [device["device"] for device in system["devices"]] == ["cpu", "cuda:0"]
    gpu = system["devices"][1]
    assert gpu["multiprocessors"] == 132 and gpu["compute_capability"] == 9.0
    assert gpu["memory_bytes"] >= gpu["memory_free_bytes"] > 0
    assert system["cuda_unavailable"] is None


def test_not_there(monkeypatch, make_server):
    monkeypatch.setenv("AFFECT_CUDA_LIBRARY", "/nonexistent/libaffect_cuda.so")
    server = make_server()
    system = server.get("/v1/system").json()
    assert [device["device"] for device in system["devices"]] == ["cpu"]
    assert "cannot be loaded" in system["cuda_unavailable"]


@pytest.fixture(params=[EMULATED, REAL], ids=["emulated", "real"])
def plugin(request):
    devices = subprocess.run([BUILD / "bin" / "affect", "inspect", "--devices", "--json"], capture_output=True, text=True,
                             check=True, env={**os.environ, "AFFECT_CUDA_LIBRARY": str(request.param)})
    missing = json.loads(devices.stdout)["cuda_unavailable"]
    if missing:
        assert request.param != EMULATED, missing
        pytest.skip(f"no GPU: {missing}")
    return request.param


def test_the_same_curve_and_predictions_as_on_the_cpu(gpu_server, plugin, tmp_path):
    """Trained on both; then a version of each is asked on a GPU."""
    server = gpu_server(plugin=plugin, predict_device="cuda")
    curves = []
    for device, model in (("cuda", "gpu"), ("cpu", "cpu")):
        job = start_job(server, "/v1/jobs", {**ON_GPU, "device": device, "model": model})
        body = wait_end(server, job)
        assert body["state"] == "succeeded", body["error"]
        curves.append(epochs_of(server, job))
    for ours, theirs in zip(*curves):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
        assert ours["val_loss"] == pytest.approx(theirs["val_loss"], rel=1e-4)
        assert ours["confusion"] == theirs["confusion"]
    tree = tmp_path / "corpora" / "tiny"
    by_gpu, by_cpu = predict(server, tree, "gpu"), predict(server, tree, "cpu")
    assert by_gpu == pytest.approx(by_cpu, abs=1e-3)


def test_a_gpu_that_is_not_there(monkeypatch, gpu_server):
    server = gpu_server(fault="nodevice")
    answer = server.post_json("/v1/jobs", ON_GPU)
    assert answer.status == 422 and answer.json()["code"] == "device_unavailable", answer.body
    assert "no CUDA-capable device" in answer.json()["detail"]
    job = start_job(server, "/v1/jobs", {**ON_GPU, "device": "auto", "precision": "bf16"})
    assert wait_end(server, job)["state"] == "succeeded"
    events = server.get(f"/v1/jobs/{job}/events?limit=1000").json()["data"]
    assert any("the CPU is used, in fp32" in event.get("message", "") for event in events)


@pytest.mark.parametrize("fields, pointer", [({"device": "gpu"}, "/device"), ({"device": "cuda:x"}, "/device"),
                                             ({"precision": "fp8"}, "/precision"),
                                             ({"device": "cpu", "precision": "bf16"}, "/precision")])
def test_wrong_devices_are_named(gpu_server, fields, pointer):
    answer = gpu_server().post_json("/v1/jobs", {**ON_GPU, **fields})
    assert answer.status == 422, answer.body
    assert answer.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("fault, reason, words", [("malloc:9", "oom", "a batch of"), ("launch:40", "device", "illegal")])
def test_a_device_that_fails_ends_the_job_only(gpu_server, fault, reason, words):
    server = gpu_server(fault=fault, device="cpu")
    body = wait_end(server, start_job(server, "/v1/jobs", ON_GPU))
    assert body["state"] == "failed" and body["state_reason"] == reason, body
    assert words in body["error"]["message"]
    assert server.get("/readyz").status == 200
    on_cpu = start_job(server, "/v1/jobs", {**ON_GPU, "device": "cpu"})
    assert wait_end(server, on_cpu)["state"] == "succeeded"


def test_a_predictor_that_loses_its_device_is_replaced(gpu_server, tmp_path):
    """Its request gets an error; the server and its other work go on."""
    server = gpu_server(fault="launch:300", device="cpu", predict_device="cuda")
    assert wait_end(server, start_job(server, "/v1/jobs", {**ON_GPU, "device": "cpu"}))["state"] == "succeeded"
    sound = (tmp_path / "corpora" / "tiny" / SOUND).read_bytes()
    statuses = [server.post_form("/v1/predictions", {"model": "tiny", "audio": ("a.wav", sound)}).status
                for _ in range(12)]
    assert 200 in statuses and any(status >= 500 for status in statuses), statuses
    assert server.get("/readyz").status == 200 and server.get("/v1/models/tiny").status == 200
