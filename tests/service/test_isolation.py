"""The server's workers and predictors, looked at from outside while they live: environment,
capabilities, namespace, filter and limits. tests/engine/core/test_confine.c tries from inside what
is refused.
"""
import os
import pathlib
import re

import pytest

pytest.importorskip("numpy")

from conftest import Server  # noqa: E402
from test_failures import TRAIN, SmallTree, children, prepare, start_job, wait_end  # noqa: E402

pytestmark = pytest.mark.sanitized

LONG = TRAIN | {"model": "long", "training": {"epochs": 100000, "batch_size": 4}}
SECRET = {"AFFECTD_LOG_LEVEL": "info", "DATABASE_PASSWORD": "a secret", "LD_PRELOAD_X": "x", "CUDALIKE": "x"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("isolation")
    SmallTree(folder / "tree" / "tiny")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRET.items():
            patch.setenv(name, value)
        patch.setenv("LC_TIME", "C")
        server = Server(folder, import_root=folder / "tree")
    prepare(server)
    yield server
    assert server.stop() == 0


def status_of(pid):
    return dict(re.findall(r"(\w+):\s+(.*)", pathlib.Path(f"/proc/{pid}/status").read_text()))


def check_isolation(server, pid):
    status, process = status_of(pid), pathlib.Path(f"/proc/{pid}")
    environment = dict(variable.split("=", 1) for variable in (process / "environ").read_text().split("\0") if variable)
    assert not environment.keys() & SECRET.keys()
    assert environment["LC_TIME"] == "C" and environment["PATH"] == os.environ["PATH"]
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb", *(["CapBnd"] if os.geteuid() == 0 else [])):
        assert int(status[name], 16) == 0, name
    own = status_of(server.process.pid)
    assert own["Seccomp"] == "0" and own["CapEff"] == status_of(os.getpid())["CapEff"]
    if os.geteuid() == 0 and int(own["CapEff"], 16) >> 21 & 1:  # CAP_SYS_ADMIN: a namespace can be had
        assert os.readlink(process / "ns/net") != os.readlink("/proc/self/ns/net")
    limits = (process / "limits").read_text()
    assert re.search(r"Max core file size +0 +0 ", limits)
    assert int(re.search(r"Max open files +(\d+)", limits)[1]) <= 4096
    assert re.search(r"Max address space +\d+", limits) or "AFFECT_SANITIZER_REPORTS" in os.environ


def the_one(server, kind):
    server.wait_for(lambda: len(children(server.process.pid).get(kind, [])) == 1, kind)
    return children(server.process.pid)[kind][0]


def test_predictor(server):
    check_isolation(server, the_one(server, "predict"))


def test_training_worker(server):
    job = start_job(server, "/v1/jobs", LONG)
    server.wait_for(lambda: server.get(f"/v1/jobs/{job}").json()["state"] == "running", "running")
    check_isolation(server, the_one(server, "train"))
    assert server.request("POST", f"/v1/jobs/{job}/cancel").status in (200, 202)
    assert wait_end(server, job)["state"] == "cancelled"
