"""A data folder of schema version 1, made by the program of that time (tests/reference/make_version1.py), is served as
it was: its jobs, events, models and datasets, and its models predict the same bits. The folder lies elsewhere now; the upgrade is one transaction."""
import json
import pathlib
import signal
import sqlite3
import subprocess
import tarfile
import time

import pytest

pytest.importorskip("numpy")

from conftest import BUILD  # noqa: E402
from make_version1 import cpu_flags, predictions_of  # noqa: E402

ARCHIVE = pathlib.Path(__file__).resolve().parents[1] / "reference/version1.tar.xz"


@pytest.fixture
def unpacked(tmp_path):
    """(the folder to start a server in, what the server of that time answered)"""
    folder = tmp_path / "old"
    folder.mkdir()
    with tarfile.open(ARCHIVE) as packed:
        packed.extractall(folder)
    return folder, json.loads((folder / "answers.json").read_text())


def same_numbers(got, wanted, exact):
    assert got.keys() == wanted.keys()
    for model, probabilities in wanted.items():
        assert got[model] == (probabilities if exact else pytest.approx(probabilities, abs=1e-5)), model


def without_new(value):
    """An answer without the members that came later."""
    if isinstance(value, dict):
        if isinstance(value.get("best"), dict):
            value["best"].pop("val_recall_mean", None)
        if value.get("type") == "train" and "links" in value:
            value["links"].pop("artifacts")
        if "links" in value:
            for picture in ("confusion", "reliability", "recall"):
                value["links"].pop(picture, None)
        return {name: without_new(v) for name, v in value.items() if name not in ("retry_of", "parent", "run", "retry")}
    return [without_new(v) for v in value] if isinstance(value, list) else value


def database(folder):
    return sqlite3.connect(folder / "data/affectd.sqlite")


def schema(db):
    """The version that the database says, checked against its tables and rows."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    columns = {row[1] for row in db.execute("PRAGMA table_info(jobs)")}
    specs = [row[0] for row in db.execute("SELECT spec FROM jobs")]
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert ({"retry_of", "parent", "run_digest"} <= columns) == (version == 3), (version, columns)
    assert all(("/tmp" in spec) == (version == 1) for spec in specs), version
    return version


def test_it_is_served_as_before(unpacked, server_in):
    folder, told = unpacked
    with database(folder) as db:
        assert schema(db) == 1
    server = server_in(folder)
    assert len(told["answers"]) > 25
    for path, wanted in told["answers"].items():
        assert without_new(server.get(path).json()) == wanted, path
    parts = {path.name: path.read_bytes() for path in (folder / "parts").iterdir()}
    same_numbers(predictions_of(server, parts, told["fields"]), told["predictions"], told["cpu"] == cpu_flags())
    refused = server.post_form("/v1/predictions", {"model": "audio:1", "calibrated": "true", "audio": ("a.wav", parts["audio"])})
    assert refused.status == 422 and "has no temperature" in refused.json()["detail"]
    with database(folder) as db:
        assert schema(db) == 3


def test_its_jobs_go_on(unpacked, server_in):
    """The job that ran goes on from its checkpoint, the one that is paused likewise; what is queued runs; what failed
    is retried; a key of that time still names its job."""
    folder, told = unpacked
    jobs = told["jobs"]
    server = server_in(folder)

    def state(job):
        return server.get(f"/v1/jobs/{job}").json()["state"]

    server.wait_for(lambda: state(jobs["running"]) == "running", "the job that ran")
    assert server.request("POST", f"/v1/jobs/{jobs['running']}/cancel").status == 202
    server.wait_for(lambda: state(jobs["queued"]) == "succeeded", "the queued job", 60)
    before = server.get(f"/v1/jobs/{jobs['paused']}").json()["progress"]["epoch"]
    assert server.request("POST", f"/v1/jobs/{jobs['paused']}/resume").status == 202
    server.wait_for(lambda: server.get(f"/v1/jobs/{jobs['paused']}").json()["progress"]["epoch"] > before, "an epoch")
    kinds = [e for e in server.get(f"/v1/jobs/{jobs['paused']}/events?limit=1000").json()["data"] if e["event"] == "epoch"]
    new = [e["epoch"] for e in kinds if not e.get("replayed")]
    assert new == list(range(1, len(new) + 1)) and [e["epoch"] for e in kinds].count(1) == 1, "it began anew"
    server.request("POST", f"/v1/jobs/{jobs['paused']}/cancel")
    failed = next(job for job in jobs["ended"] if state(job) == "failed")
    assert server.request("POST", f"/v1/jobs/{failed}/retry").json()["retry_of"] == failed
    body = server.get(f"/v1/jobs/{jobs['ended'][1]}").json()["request"]
    again = server.post_json("/v1/jobs", body, **{"Idempotency-Key": "version-1"})
    assert again.json()["id"] == jobs["ended"][0]


def multiply(folder, copies):
    """More jobs, so that the upgrade takes a while."""
    with database(folder) as db:
        names = [row[1] for row in db.execute("PRAGMA table_info(jobs)")]
        rows = db.execute("SELECT * FROM jobs WHERE ended_ms IS NOT NULL").fetchall()
        for number in range(copies):
            for row in rows:
                copy = dict(zip(names, row, strict=True))
                new = copy["id"][:-6] + f"{number:06}"
                copy |= {"id": new, "spec": copy["spec"].replace(copy["id"], new)}
                db.execute(f"INSERT OR IGNORE INTO jobs VALUES ({','.join('?' * len(names))})", list(copy.values()))


def test_killed_in_mid_upgrade(unpacked, server_in):
    folder, _ = unpacked
    multiply(folder, 800)
    arguments = [str(BUILD / "bin/affectd"), "--data", str(folder / "data"), "--set", "listen=127.0.0.1:0"]
    began = time.monotonic()
    seen, delay = [], 0.005
    while not seen or (seen[-1] == 1 and time.monotonic() - began < 60):
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with database(folder) as db:
            seen.append(schema(db))
        delay *= 1.2
    assert seen[0] == 1 and seen[-1] == 3, seen
    assert server_in(folder).get("/v1/jobs?limit=1").status == 200


def test_a_newer_folder_is_refused(unpacked):
    folder, _ = unpacked
    with database(folder) as db:
        db.execute("PRAGMA user_version = 4")
    done = subprocess.run([str(BUILD / "bin/affectd"), "--data", str(folder / "data"), "--set", "listen=127.0.0.1:0"],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode != 0 and "schema 4" in done.stderr and "newer affectd" in done.stderr, done.stderr
    with database(folder) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == 4
