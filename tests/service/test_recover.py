"""A lost database: the server does not begin afresh over datasets and models, and makes it anew from them."""
import hashlib
import os
import signal
import subprocess

import pytest

from conftest import BUILD
from test_jobs import real, train_id, wait_end  # noqa: F401


def affectd(server, *arguments):
    return subprocess.run([BUILD / "bin/affectd", *arguments, "--data", server.folder / "data", "--listen", "127.0.0.1:0"],
                          capture_output=True, text=True, timeout=60)


def lose_database(server, how):
    database = server.folder / "data" / "affectd.sqlite"
    for path in server.folder.glob("data/affectd.sqlite*"):
        path.unlink()
    if how == "empty":
        database.touch()


@pytest.mark.parametrize("how", ["missing", "empty"])
def test_a_lost_database(real, how):  # noqa: F811
    server = real()
    for _ in range(2):
        assert wait_end(server, train_id(server))["state"] == "succeeded"
    model, dataset = server.get("/v1/models/first").json(), server.get("/v1/datasets/ready").json()
    server.stop()
    files = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in server.folder.glob("data/models/*/*")}
    assert len(files) == 2
    done = affectd(server, "recover")
    assert done.returncode == 1 and "nothing was done" in done.stderr

    lose_database(server, how)
    done = affectd(server)
    assert done.returncode == 1 and "affectd recover" in done.stderr and "1 datasets and 1 models" in done.stderr
    (server.folder / "data/models/first/3.safetensors").write_bytes(b"damaged")
    done = affectd(server, "recover")
    assert done.returncode == 0 and "recovered 1 datasets and 2 model versions; 1 could not be read" in done.stdout

    server.start()
    again = server.get("/v1/models/first").json()
    assert [(v["version"], v["sha256"]) for v in again["versions"]] == [(v["version"], v["sha256"]) for v in model["versions"]]
    assert server.get("/v1/datasets/ready").json()["digest"] == dataset["digest"]
    assert wait_end(server, train_id(server))["result"]["version"] == 4, "number 3 is taken by a file without a row"
    assert {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files} == files
    assert (server.folder / "data/models/first/3.safetensors").read_bytes() == b"damaged"


def test_hang_up_opens_the_log_anew(make_server, tmp_path):
    log = tmp_path / "affectd.log"
    server = make_server(log_file=log)
    log.rename(tmp_path / "rotated.log")
    os.kill(server.process.pid, signal.SIGHUP)
    server.wait_for(log.exists, "a new log")
    server.get("/v1/models")
    server.wait_for(lambda: "/v1/models" in log.read_text(), "a line in it")
    server.get("/livez")
    assert "/livez" not in log.read_text() and server.stop() == 0
    assert "/v1/models" not in (tmp_path / "rotated.log").read_text()


def test_a_model_file_that_became_a_pipe(real):  # noqa: F811
    """Opening one waits for a writer for ever: the request and the stop with it."""
    server = real()
    assert wait_end(server, train_id(server))["state"] == "succeeded"
    path = server.folder / "data/models/first/1.safetensors"
    path.unlink()
    os.mkfifo(path)
    answer = server.request("GET", "/v1/models/first/versions/1/artifact", timeout=5)
    assert answer.status == 500, answer.body
    answer = server.post_form("/v1/predictions", {"model": "first", "audio": ("a.wav", b"RIFF")})
    assert answer.status == 500 and answer.json()["code"] == "artifact_corrupt", answer.body
    assert str(server.folder) not in answer.body.decode()
    assert server.stop(seconds=10) == 0
