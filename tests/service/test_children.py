"""Children that leave processes behind, or that the kernel does not let go: what they cost the server. From C,
tests/engine/core/test_child.c and tests/api/test_worker.c say the rest."""
import concurrent.futures
import ctypes
import os
import subprocess
import time

import pytest

from conftest import Server
from test_jobs import FAKE, fake, import_folder, train_id, wait_end  # noqa: F401
from test_predictions_fake import predict, ready  # noqa: F401


@pytest.fixture
def tracing():
    """The fake holds a process unreaped by tracing it (ptrace), which a container may refuse."""
    pid = os.fork()
    if pid == 0:
        time.sleep(10)
        os._exit(0)
    libc = ctypes.CDLL(None)
    libc.ptrace.restype = ctypes.c_long
    allowed = libc.ptrace(0x4206, pid, None, None) == 0
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    if not allowed:
        pytest.skip("processes cannot be traced here")


def seconds_of(call, *args, **kwargs):
    began = time.monotonic()
    answer = call(*args, **kwargs)
    return answer, time.monotonic() - began


@pytest.mark.parametrize("how", ["apart", "held"])
def test_listing_the_devices(monkeypatch, fake, how, request):  # noqa: F811
    if how == "held":
        request.getfixturevalue("tracing")
    monkeypatch.setenv("AFFECT_CUDA_FAKE", how)
    system, seconds = seconds_of(fake().get, "/v1/system")
    assert system.status == 200 and [d["device"] for d in system.json()["devices"]] == ["cpu"], system.body
    assert seconds < 8


@pytest.mark.parametrize("how", ["apart", "held"])
def test_dry_runs(fake, how, request):  # noqa: F811
    if how == "held":
        request.getfixturevalue("tracing")
    server = fake(dry_run_deadline_seconds=15)
    body = {"type": "train", "dataset": "ready", "model": "m", "variables": {"fake": how}, "training": {"epochs": 1}}
    answer, seconds = seconds_of(server.post_json, "/v1/jobs?dry_run=true", body)
    assert answer.status == 200 and seconds < 8, answer.body
    again = server.post_json("/v1/jobs?dry_run=true", body | {"variables": {}})
    assert again.status == (503 if how == "held" else 200), again.body
    if how == "held":  # the tracer ends after 12 s
        server.wait_for(lambda: server.post_json("/v1/jobs?dry_run=true", body | {"variables": {}}).status == 200,
                        "the end of the one that hung", 40)
    assert seconds_of(server.stop)[1] < 12


def test_a_predictor_that_leaves_its_socket_to_another(ready):  # noqa: F811
    server = ready()
    answer, seconds = seconds_of(predict, server, audio=b"APART")
    assert answer.status == 502 and seconds < 8, answer.body
    assert predict(server, audio=b"a").status == 200


def test_a_predictor_that_cannot_be_reaped(ready, tracing):  # noqa: F811
    """Killed at its deadline, it holds up neither the other predictor nor the server's end."""
    server = ready(predictors=2, prediction_deadline_seconds=1)
    server.wait_for(lambda: server.metric("affectd_predictors_ready") == 2, "two predictors")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(predict, server, audio=b"HELD")
        assert held.result().status == 503
    time.sleep(0.5)
    answer, seconds = seconds_of(predict, server, audio=b"a")
    assert answer.status == 200 and seconds < 2, answer.body
    code, seconds = seconds_of(server.stop)
    assert code == 0 and seconds < 8


class WithoutStandard(Server):
    """Started with descriptors 0, 1 and 2 closed."""

    def start(self):
        run = subprocess.Popen

        def closed(arguments, **kwargs):
            return run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *arguments], env=kwargs["env"])

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(subprocess, "Popen", closed)
            super().start()


def test_standard_descriptors_closed(tmp_path):
    """Its own files would get these numbers: what is printed would be written into them, and no child be started."""
    (tmp_path / "corpora/small").mkdir(parents=True)
    server = WithoutStandard(tmp_path, worker_binary=FAKE, import_root=tmp_path / "corpora")
    try:
        assert wait_end(server, import_folder(server, "ready", "small").json()["id"])["state"] == "succeeded"
        assert wait_end(server, train_id(server, 2, model="m"))["state"] == "succeeded"
        assert predict(server, audio=b"NOISE").status == 200
        standard = [os.readlink(f"/proc/{server.process.pid}/fd/{fd}") for fd in range(3)]
        assert standard == ["/dev/null"] * 3
        assert server.get("/v1/system").status == 200
    finally:
        assert server.stop() == 0
