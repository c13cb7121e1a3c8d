"""What killed workers and servers leave behind: archives of imports, what failed ones made, last words,
jobs that could not begin."""
import os
import shutil
import signal
import sqlite3
import time

from test_jobs import (FAKE, fake, import_folder, job, train_id, wait_end, wait_for_lock,  # noqa: F401
                       wait_state)


def upload_of(server, job_id):
    return server.folder / "data" / "jobs" / job_id / "upload"


def import_archive(server, name):
    answer = server.request("POST", f"/v1/datasets?name={name}", b"PK\x05\x06" + bytes(18),
                            {"Content-Type": "application/zip"})
    assert answer.status == 202, answer.body
    return answer.json()["id"]


def test_archives_that_a_killed_server_left(fake):  # noqa: F811
    server = fake()
    done = import_archive(server, "done")
    assert wait_end(server, done)["state"] == "succeeded"
    waiting = import_archive(server, "slow-one")
    wait_state(server, waiting, "running")
    cancelled = import_archive(server, "never")
    assert upload_of(server, cancelled).exists()
    server.request("POST", f"/v1/jobs/{cancelled}/cancel")
    server.stop(signal.SIGKILL)
    wait_for_lock(server.folder / "data/jobs" / waiting / "lock")
    stale = [upload_of(server, done), upload_of(server, cancelled), upload_of(server, "job_of_nobody")]
    for path in stale:  # as if it was killed just before it removed them
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"archive")
    kept = server.folder / "data/jobs/job_of_nobody_either"
    kept.mkdir()
    (kept / "best.safetensors").write_bytes(b"somebody's")
    (kept / "last.safetensors.aside-aB3xY9").write_bytes(b"half of a checkpoint")
    server.start()
    assert not any(path.exists() for path in stale)
    assert not list(kept.glob("*.aside-*")), "a kill came before its rename"
    assert not stale[-1].parent.exists() and (kept / "best.safetensors").exists()
    assert upload_of(server, waiting).exists(), "its job is to run again"
    wait_state(server, waiting, "running")
    server.request("POST", f"/v1/jobs/{waiting}/cancel")
    assert wait_end(server, waiting)["state"] == "cancelled"
    server.wait_for(lambda: not upload_of(server, waiting).exists(), "removal of the archive")
    assert server.get("/v1/datasets/done").json()["state"] == "ready"


def test_what_a_failed_import_made(fake):  # noqa: F811
    """A worker that is killed cannot remove what it unpacked: the server does, then or at its start."""
    server = fake()
    failed = import_folder(server, "broken", "small").json()["id"]
    body = wait_end(server, failed)
    assert body["state"] == "failed" and body["state_reason"] == "crash"
    folder = server.folder / "data/datasets" / server.get("/v1/datasets/broken").json()["id"]
    server.wait_for(lambda: not folder.exists(), "removal of what was unpacked")
    server.stop(signal.SIGKILL)
    (folder / ".staging").mkdir(parents=True)
    (folder / ".staging/big.wav").write_bytes(b"RIFF")
    server.start()
    assert not folder.exists()
    ready = server.get("/v1/datasets/ready").json()
    assert ready["state"] == "ready" and (folder.parent / ready["id"] / "dataset.json").exists()


def test_last_words(fake):  # noqa: F811
    """What a worker wrote to stderr just before it died is in its log, to the end."""
    server = fake()
    job_id = train_id(server, 1, fake="last_words")
    assert wait_end(server, job_id)["state"] == "failed"
    log = (server.folder / "data/jobs" / job_id / "log").read_text()
    assert log.endswith("the reason\n") and len(log) == 60000 + len("the reason\n")


def test_a_job_that_could_not_begin(make_server, tmp_path):
    """No worker can be started, and the store is busy when that is to be stored: it is, a little later."""
    binary = tmp_path / "affect"
    shutil.copy(FAKE, binary)
    (tmp_path / "corpora/small").mkdir(parents=True)
    server = make_server(worker_binary=binary, import_root=tmp_path / "corpora")
    assert wait_end(server, import_folder(server, "ready", "small").json()["id"])
    first, second = train_id(server, 100000, delay_ms=10), train_id(server, 1)
    wait_state(server, first, "running")
    folder = server.folder / "data/jobs" / second
    folder.mkdir()
    os.mkfifo(folder / "log")  # who opens it to write waits for a reader
    binary.chmod(0o644)
    server.request("POST", f"/v1/jobs/{first}/cancel")
    assert wait_end(server, first)["state"] == "cancelled"
    wait_state(server, second, "preparing")
    store = sqlite3.connect(server.folder / "data/affectd.sqlite", isolation_level=None)
    store.execute("BEGIN IMMEDIATE")  # the server waits 5 s for it, then the write fails
    with open(folder / "log", "rb"):
        time.sleep(6)
    assert job(server, second)["state"] == "preparing"
    store.execute("ROLLBACK")
    store.close()
    body = wait_end(server, second, 20)
    assert body["state"] == "failed" and "affect" in body["error"]["message"], body
    binary.chmod(0o755)
    assert wait_end(server, train_id(server, 1))["state"] == "succeeded"
