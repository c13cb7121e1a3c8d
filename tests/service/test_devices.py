"""The GPU engine behind the service, on the emulation of CUDA (tests/cuda_host): it is listed, jobs
and predictions run on it, and what a device can do wrong ends a job, never the server."""
import os
from pathlib import Path

import pytest

BUILD = Path(os.environ["AFFECT_BUILD_DIR"])
PLUGIN = BUILD / "tests" / "libaffect_cuda_host.so"


@pytest.fixture
def with_gpu(monkeypatch):
    """What servers started in this test find as their CUDA engine."""
    monkeypatch.setenv("AFFECT_CUDA_LIBRARY", str(PLUGIN))
    return monkeypatch


@pytest.fixture
def without_gpu(monkeypatch):
    monkeypatch.setenv("AFFECT_CUDA_LIBRARY", "/nonexistent/libaffect_cuda.so")


def test_listed(with_gpu, make_server):
    system = make_server().get("/v1/system").json()
    assert [device["device"] for device in system["devices"]] == ["cpu", "cuda:0"]
    gpu = system["devices"][1]
    assert gpu["multiprocessors"] == 132 and gpu["compute_capability"] == 9.0
    assert gpu["memory_bytes"] >= gpu["memory_free_bytes"] > 0
    assert system["cuda_unavailable"] is None


def test_not_there(without_gpu, make_server):
    server = make_server()
    system = server.get("/v1/system").json()
    assert [device["device"] for device in system["devices"]] == ["cpu"]
    assert "cannot be loaded" in system["cuda_unavailable"]
