"""What was accepted is on the disk before the answer: the order of system calls, as strace sees it."""
import gzip
import os
import re
import shutil
import subprocess

import pytest


@pytest.fixture
def traced(make_server, tmp_path):
    """traced() -> the server and a function that stops it and gives its calls: [(name, path)]"""
    server = make_server()
    if not shutil.which("strace"):
        pytest.skip("no strace on this machine")
    trace = tmp_path / "trace"
    tracer = subprocess.Popen(["strace", "-f", "-y", "-e", "trace=fsync,fdatasync,rename", "-o", trace, "-p",
                               str(server.process.pid)], stderr=subprocess.PIPE, text=True)
    attached = tracer.stderr.readline()
    if "attached" not in attached:
        pytest.skip(f"strace cannot attach: {attached.strip()}")

    def calls():
        server.stop()
        tracer.communicate(timeout=30)
        found = re.findall(r"(fsync|fdatasync)\(\d+<([^>]+)>|(rename)\(\"[^\"]+\", \"([^\"]+)\"", trace.read_text())
        return [(sync or rename, path or to) for sync, path, rename, to in found]

    return server, calls


def test_an_upload_and_its_folders_precede_the_row(traced):
    server, calls = traced
    answer = server.request("POST", "/v1/datasets?name=x", gzip.compress(os.urandom(6 << 20), 1),
                            {"Content-Type": "application/gzip"})
    assert answer.status == 202
    made = calls()
    data = server.folder / "data"
    folder = data / "jobs" / answer.json()["id"]
    row = made.index(("fdatasync", f"{data}/affectd.sqlite-wal"))
    bytes_at = next(i for i, (name, path) in enumerate(made) if name == "fsync" and path.startswith(f"{data}/spool/"))
    renamed = made.index(("rename", f"{folder}/upload"))
    assert bytes_at < renamed < made.index(("fsync", str(folder))) < row, made
    assert made.index(("fsync", f"{data}/jobs")) < row, "the folder's own name"
