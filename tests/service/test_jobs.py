"""Jobs from queue to end: states, events of states, cancel, wait, a full queue, with the real worker on a small
tree; crashes, noise, restarts and a full disk with one that computes nothing (fake_affect.py)."""
import fcntl
import json
import os
import pathlib
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from test_failures import ARCHITECTURE, SmallTree

pytestmark = pytest.mark.sanitized

FAKE = str(pathlib.Path(__file__).with_name("fake_affect.py"))


@pytest.fixture
def fake(make_server, tmp_path):
    """fake(**settings) -> a server whose workers are fake and which has a dataset "ready"."""
    corpus = tmp_path / "corpora" / "small"
    corpus.mkdir(parents=True)

    def make(binary=FAKE, **settings):
        server = make_server(worker_binary=binary, import_root=tmp_path / "corpora", **settings)
        answer = import_folder(server, "ready", "small")
        assert answer.status == 202, answer.body
        assert wait_end(server, answer.json()["id"])["state"] == "succeeded"
        return server

    return make


@pytest.fixture
def real(make_server, tmp_path):
    """real(**settings) -> the same with real workers: their trainings are of a small network, milliseconds an epoch."""
    SmallTree(tmp_path / "corpora" / "small")

    def make(**settings):
        server = make_server(import_root=tmp_path / "corpora", **settings)
        server.body = {"architecture": ARCHITECTURE, "split": {"kind": "random", "validation": 0.5, "seed": 1}}
        answer = server.post_json("/v1/datasets", {"name": "ready", "source": {"path": "small"}, "features": {
            "preset": "mel-16k", "mel": {"clip_seconds": 1}}})
        assert answer.status == 202, answer.body
        assert wait_end(server, answer.json()["id"])["state"] == "succeeded"
        return server

    return make


def import_folder(server, name, path):
    return server.post_json("/v1/datasets", {"name": name, "source": {"path": path}})


def train(server, epochs=3, model="first", **variables):
    """variables: of the fake worker."""
    return server.post_json(
        "/v1/jobs",
        {"type": "train", "dataset": "ready", "model": model, "training": {"epochs": epochs},
         **({"variables": variables} if variables else {}), **getattr(server, "body", {})},
    )


def train_id(server, *args, **kwargs):
    answer = train(server, *args, **kwargs)
    assert answer.status == 202, answer.body
    assert answer.headers["Location"] == f"/v1/jobs/{answer.json()['id']}"
    return answer.json()["id"]


def job(server, job_id, **headers):
    return server.get(f"/v1/jobs/{job_id}", **headers).json()


def wait_end(server, job_id, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        body = server.get(f"/v1/jobs/{job_id}?wait=5").json()
        if body["terminal"]:
            return body
    raise AssertionError(body)


def wait_state(server, job_id, *states):
    server.wait_for(lambda: job(server, job_id)["state"] in states, f"state {states}")


def events(server, job_id, after=0):
    found = []
    while True:
        page = server.get(f"/v1/jobs/{job_id}/events?after={after}&limit=1000").json()
        found += page["data"]
        after = page["next"]
        if not page["more"]:
            return found


def states(server, job_id):
    return [e["state"] for e in events(server, job_id) if e["event"] == "state"]


def test_train_makes_a_model(real):
    server = real()
    job_id = train_id(server, 4)
    body = wait_end(server, job_id)
    assert body["state"] == "succeeded" and body["state_reason"] is None, body
    assert body["result"]["model"] == "first" and body["result"]["version"] == 1
    assert body["result"]["selection"] == "optimistic"
    assert body["progress"] == {"epoch": 4, "epochs": 4, "fraction": 1, "eta_seconds": 0}
    assert 1 <= body["best"]["epoch"] <= 4 and body["dataset"] == "ready"
    assert states(server, job_id) == ["queued", "preparing", "running", "succeeded"]
    told = events(server, job_id)
    assert [e["seq"] for e in told] == list(range(1, len(told) + 1))
    assert [e["epoch"] for e in told if e["event"] == "epoch"] == [1, 2, 3, 4]
    assert told[-1]["event"] == "end" and told[-1]["result"] == body["result"]

    second = wait_end(server, train_id(server, 1))
    assert second["result"]["version"] == 2
    model = server.get("/v1/models/first").json()
    assert model["latest"] == 2 and [v["version"] for v in model["versions"]] == [2, 1]
    version = server.get("/v1/models/first/versions/1").json()
    assert version["job"] == job_id and version["labels"] == ["angry", "happy", "neutral", "sad"]
    assert [m["name"] for m in server.get("/v1/models").json()["data"]] == ["first"]

    path = "/v1/models/first/versions/1/artifact"
    whole = server.get(path)
    assert whole.status == 200 and len(whole.body) == version["bytes"]
    assert whole.headers["ETag"] == f'"{version["sha256"]}"'
    piece = server.get(path, Range="bytes=8-15")
    assert piece.status == 206 and piece.body == whole.body[8:16]
    piece = server.get(path, Range="bytes=8-15", If_Range=whole.headers["ETag"])
    assert piece.status == 206 and piece.body == whole.body[8:16]
    other = server.get(path, Range="bytes=8-15", If_Range='"of another file"')
    assert other.status == 200 and other.body == whole.body
    assert server.get(path, If_None_Match=whole.headers["ETag"]).status == 304
    assert server.get("/v1/models/first/versions/9/artifact").status == 404
    assert server.get("/v1/models/first/versions/x").status == 404
    assert server.get("/v1/models/other").status == 404


def test_documents_are_never_old(fake):
    """Models, datasets and jobs are answered from memory; an answer never lags behind a write that was confirmed."""
    server = fake()
    for version in range(1, 16):
        job = train_id(server, 1)
        assert wait_end(server, job)["state"] == "succeeded"
        for _ in range(3):
            assert server.get("/v1/models/first").json()["latest"] == version
            assert server.get(f"/v1/models/first/versions/{version}").json()["job"] == job
            assert server.get(f"/v1/models/first/versions/{version + 1}").status == 404
            assert server.get(f"/v1/jobs/{job}").json()["result"]["version"] == version
    for i in range(15):
        made = import_folder(server, f"d{i}", "small").json()["id"]
        assert server.get(f"/v1/datasets/d{i}").json()["name"] == f"d{i}"
        assert wait_end(server, made)["state"] == "succeeded"
        for _ in range(3):
            assert server.get(f"/v1/datasets/d{i}").json()["state"] == "ready"
        assert server.request("DELETE", f"/v1/datasets/d{i}").status == 204
        assert server.get(f"/v1/datasets/d{i}").status == 404
        assert [d["name"] for d in server.get("/v1/datasets").json()["data"]] == ["ready"]
        assert server.request("HEAD", "/v1/datasets").headers["Content-Length"] == str(len(server.get("/v1/datasets").body))


def test_conditional_requests(fake):
    """ETags of jobs: 304 and 412 of reads, 412 of actions on a state that has changed."""
    server = fake()
    first = train_id(server, 10000, delay_ms=10)
    wait_state(server, first, "running")
    path = f"/v1/jobs/{first}"
    etag = server.get(path).headers["ETag"]
    number = int(etag.strip('"'))
    for known, status in ((etag, 304), ("*", 304), (f'W/{etag}', 304), (f'"x", {etag}', 304), (f'"{number}0"', 200),
                          (f'"1{number}"', 200), (f'"x{etag}', 200), (str(number), 200)):
        answer = server.get(path, If_None_Match=known)
        assert answer.status == status and answer.headers["ETag"] == etag, known
    for wanted, status in ((etag, 200), ("*", 200), (f'"{number - 1}"', 412), (f"W/{etag}", 412)):
        assert server.get(path, If_Match=wanted).status == status, wanted
    refused = server.request("POST", f"{path}/cancel", headers={"If-Match": f'"{number - 1}"'})
    assert refused.status == 412 and refused.json()["code"] == "precondition_failed"
    assert server.request("POST", f"{path}/cancel", headers={"If-None-Match": "*"}).status == 412
    assert server.get(path).headers["ETag"] == etag
    assert server.request("POST", f"{path}/cancel", headers={"If-Match": etag}).status == 202
    wait_end(server, first)
    assert server.get(f"{path}?wait=60", If_None_Match="*").status == 304
    assert server.get("/v1/jobs/job_none", If_None_Match="*").status == 404


def test_evaluate(real):
    server = real()
    wait_end(server, train_id(server, 1))
    body = {"type": "evaluate", "model": "first:1", "dataset": "ready", "part": "validation"}
    done = wait_end(server, server.post_json("/v1/jobs", body).json()["id"])
    assert done["state"] == "succeeded" and 0 <= done["result"]["metrics"]["accuracy"] <= 1
    for wrong in ({"model": "nobody"}, {"model": "first:7"}, {"part": "half"}, {"epochs": 3},
                  {"model": "../first"}):
        answer = server.post_json("/v1/jobs", body | wrong)
        assert answer.status == 422, answer.body
        assert answer.json()["errors"][0]["pointer"] == "/" + next(iter(wrong))


@pytest.mark.parametrize(
    "change, pointer",
    [
        ({"learning_rate": 0.1}, "/learning_rate"),
        ({"training": {"learning_rat": 0.1}}, "/training/learning_rat"),
        ({"training": {"epochs": 0}}, "/training/epochs"),
        ({"training": {"epochs": "many"}}, "/training/epochs"),
        ({"split": {"kind": "magic"}}, "/split/kind"),
        ({"dataset": "nowhere"}, "/dataset"),
        ({"dataset": 3}, "/dataset"),
        ({"architecture": "../../etc/passwd"}, "/architecture"),
        ({"architecture": 7}, "/architecture"),
        ({"model": "a/b"}, "/model"),
        ({"model": ""}, "/model"),
        ({"type": "import"}, "/type"),
        ({"type": "dance"}, "/type"),
    ],
)
def test_wrong_bodies(real, change, pointer):
    server = real()
    body = {"type": "train", "dataset": "ready", "model": "m"} | change
    answer = server.post_json("/v1/jobs", body)
    assert answer.status == 422, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert len(server.get("/v1/jobs?type=train").json()["data"]) == 0


def test_cancel(real):
    server = real()
    running = train_id(server, 100000)
    waiting = train_id(server, 1)
    wait_state(server, running, "running")
    assert server.request("POST", f"/v1/jobs/{waiting}/cancel").status == 202
    assert job(server, waiting)["state"] == "cancelled"
    assert server.request("POST", f"/v1/jobs/{running}/cancel").status == 202
    body = wait_end(server, running)
    assert body["state"] == "cancelled" and body["state_reason"] == "user"
    assert states(server, running)[-2:] == ["cancelling", "cancelled"]
    assert server.request("POST", f"/v1/jobs/{running}/cancel").status == 200

    done = train_id(server, 1)
    wait_end(server, done)
    answer = server.request("POST", f"/v1/jobs/{done}/cancel")
    assert answer.status == 409 and answer.json()["allowed"] == []
    assert server.request("POST", "/v1/jobs/job_none/cancel").status == 404
    assert server.request("POST", f"/v1/jobs/{done}/cancel", b"body").status == 415


def test_worker_that_does_not_stop_is_killed(fake):
    server = fake(job_cancel_grace_seconds=0.3)
    job_id = train_id(server, 1, fake="hang")
    time.sleep(0.3)
    server.request("POST", f"/v1/jobs/{job_id}/cancel")
    assert wait_end(server, job_id)["state"] == "cancelled"


@pytest.mark.parametrize(
    "how, reason, text",
    [
        ("crash", "crash", "signal 11"),
        ("exit", "crash", "code 3"),
        ("protocol", "crash", "protocol 7"),
        ("diverge", "diverged", "not a number"),
    ],
)
def test_workers_that_fail(fake, how, reason, text):
    server = fake()
    body = wait_end(server, train_id(server, 1, fake=how))
    assert body["state"] == "failed" and body["state_reason"] == reason
    assert text in body["error"]["message"]
    assert wait_end(server, train_id(server, 1))["state"] == "succeeded"


def test_lost_workers_are_started_again(fake):
    server = fake(job_max_restarts=2)
    job_id = train_id(server, 1, fake="lost")
    wait_state(server, job_id, "paused")
    body = job(server, job_id)
    assert body["state_reason"] == "worker_lost" and not body["terminal"] and body["restarts"] == 3
    often = ["preparing", "interrupted", "queued"] * 2 + ["preparing", "interrupted", "paused"]
    assert states(server, job_id) == ["queued"] + often
    assert server.request("POST", f"/v1/jobs/{job_id}/resume", b"{}", {"Content-Type": "application/json"}).status == 202
    server.wait_for(lambda: states(server, job_id) == (["queued"] + often) * 2, "as many tries again")
    assert server.request("POST", f"/v1/jobs/{job_id}/cancel").status == 202


def test_a_job_whose_folder_is_held_goes_behind_the_others(fake):
    """An earlier worker hangs in a driver and holds the lock: the others are not held up, and it is told."""
    server = fake()
    running = train_id(server, 100000)
    held, free = train_id(server, 1), train_id(server, 1)
    folder = server.folder / "data/jobs" / held
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server.request("POST", f"/v1/jobs/{running}/cancel")
        assert wait_end(server, free)["state"] == "succeeded"
        body = job(server, held)
        assert body["state"] == "queued" and body["state_reason"] == "worker_lost"
        assert server.metric("affectd_jobs_blocked") == 1
        assert len([e for e in events(server, held) if e["event"] == "log"]) == 1
    assert wait_end(server, held)["state"] == "succeeded"
    assert server.metric("affectd_jobs_blocked") == 0 and len(states(server, held)) == 4


def test_a_worker_that_does_not_listen_does_not_keep_the_server(fake):
    server = fake()
    job_id = train_id(server, 1, fake="hang")
    wait_state(server, job_id, "preparing", "running")
    time.sleep(0.5)
    began = time.monotonic()
    assert server.stop(seconds=12) == 0 and time.monotonic() - began < 10


def test_bodies_of_actions(real):
    server = real()
    job_id = train_id(server, 100000)
    ask = lambda body, kind="application/json": server.request(  # noqa: E731
        "POST", f"/v1/jobs/{job_id}/cancel", body, {"Content-Type": kind} if kind else {})
    assert ask(b'{"now": true}').status == 422 and ask(b"[]").status == 422 and ask(b"{").status == 400
    assert ask(b"x", "text/plain").status == 415 and ask(b"{}").status == 202
    assert wait_end(server, job_id)["state"] == "cancelled"
    for headers in ({}, {"Content-Type": "application/json"}):
        answer = server.request("POST", "/v1/jobs", b"", headers)
        assert answer.status == 400 and "missing" in answer.json()["detail"], answer.body


@pytest.mark.parametrize("how, warnings", [("garbage", 3), ("long", 1), ("stderr", 0)])
def test_noisy_workers(fake, how, warnings):
    server = fake()
    job_id = train_id(server, 2, fake=how)
    assert wait_end(server, job_id)["state"] == "succeeded"
    told = events(server, job_id)
    assert len([e for e in told if e["event"] == "warning"]) == warnings
    log = server.folder / "data" / "jobs" / job_id / "log"
    assert log.stat().st_size == (4 << 20 if how == "stderr" else 0)


def test_full_queue(real):
    server = real(job_queue=2)
    ids = [train_id(server, 100000)]
    wait_state(server, ids[0], "running")
    ids += [train_id(server, 1) for _ in range(2)]
    answer = train(server, 1)
    assert answer.status == 503 and answer.json()["code"] == "busy"
    assert int(answer.headers["Retry-After"]) > 0
    server.request("POST", f"/v1/jobs/{ids[0]}/cancel")
    assert [wait_end(server, i)["state"] for i in ids] == ["cancelled", "succeeded", "succeeded"]
    ended = [job(server, i)["ended"] for i in ids[1:]]
    assert ended == sorted(ended)


def test_several_at_once(real):
    server = real(job_slots=3)
    ids = [train_id(server, 100000, model=f"m{i}") for i in range(4)]
    for job_id in ids[:3]:
        wait_state(server, job_id, "running")
    assert job(server, ids[3])["state"] == "queued"
    for job_id in ids:
        server.request("POST", f"/v1/jobs/{job_id}/cancel")
    for job_id in ids:
        assert wait_end(server, job_id)["state"] == "cancelled"


def test_list_and_wait(real):
    server = real()
    first, second = train_id(server, 100000), train_id(server, 1)
    wait_state(server, first, "running")
    page = server.get("/v1/jobs?limit=1").json()
    assert [j["id"] for j in page["data"]] == [second] and page["more"]
    page = server.get(f"/v1/jobs?limit=1&after={second}").json()
    assert [j["id"] for j in page["data"]] == [first]
    assert [j["id"] for j in server.get("/v1/jobs?state=queued").json()["data"]] == [second]
    assert server.get("/v1/jobs?state=dancing").status == 422
    assert server.get("/v1/jobs?state=queued&order=up").status == 422
    assert server.get("/v1/jobs/job_none").status == 404

    answer = server.get(f"/v1/jobs/{first}")
    etag = answer.headers["ETag"]
    assert server.get(f"/v1/jobs/{first}", If_None_Match=etag).status == 304
    assert server.get(f"/v1/jobs/{first}?wait=60", If_None_Match='"1"').status == 200
    assert server.get(f"/v1/jobs/{first}?wait=1", If_None_Match=etag).status == 304
    server.request("POST", f"/v1/jobs/{first}/cancel")
    assert wait_end(server, first)["state"] == "cancelled"
    assert server.get(f"/v1/jobs/{first}?wait=60").json()["state"] == "cancelled"
    assert server.get(f"/v1/jobs/{first}?wait=x").status == 422


def test_idempotency_key(real):
    server = real()
    body = {"type": "train", "dataset": "ready", "model": "m", "training": {"epochs": 1}, **server.body}
    first = server.post_json("/v1/jobs", body, **{"Idempotency-Key": "one"}).json()["id"]
    again = server.post_json("/v1/jobs", body, **{"Idempotency-Key": "one"})
    assert again.status == 202 and again.json()["id"] == first
    other = server.post_json("/v1/jobs", body | {"model": "n"}, **{"Idempotency-Key": "one"})
    assert other.status == 409
    assert len(server.get("/v1/jobs?type=train").json()["data"]) == 1
    wait_end(server, first)  # the key still means that job when it could not be made any more
    assert server.request("DELETE", "/v1/datasets/ready").status == 204
    again = server.post_json("/v1/jobs", body, **{"Idempotency-Key": "one"})
    assert again.status == 202 and again.json()["id"] == first
    assert server.post_json("/v1/jobs", body, **{"Idempotency-Key": "two"}).status == 422


def wait_for_lock(path, seconds=10):
    """Until the worker that held it is gone: it may outlive its killed server for a moment."""
    with open(path) as file:
        for _ in range(int(seconds / 0.02)):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(0.02)
    raise AssertionError(f"{path} is held")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_server_restart(fake, number):
    """A running job starts again, its events go on where they were, its epochs say `replayed`."""
    server = fake()
    running, waiting = train_id(server, 150, delay_ms=10), train_id(server, 1)
    server.wait_for(lambda: any(e["event"] == "epoch" for e in events(server, running)), "an epoch")
    before = events(server, running)
    server.stop(number)
    wait_for_lock(server.folder / "data/jobs" / running / "lock")
    server.start()
    body = wait_end(server, running, 60)
    assert body["state"] == "succeeded" and wait_end(server, waiting)["state"] == "succeeded"
    assert body["restarts"] == 0, "what was lost was made up for"
    after = events(server, running)
    assert after[: len(before)] == before
    assert [e["seq"] for e in after] == list(range(1, len(after) + 1))
    assert states(server, running) == ["queued", "preparing", "running", "interrupted", "queued",
                                       "preparing", "running", "succeeded"]
    reasons = [e["reason"] for e in after if e["event"] == "state" and e["state"] == "interrupted"]
    assert reasons == ["drain" if number == signal.SIGTERM else "worker_lost"]
    replayed = [e["epoch"] for e in after if e["event"] == "epoch" and e.get("replayed")]
    assert replayed and replayed == list(range(1, len(replayed) + 1))
    epochs = server.get(f"/v1/jobs/{running}/metrics").json()["epochs"]
    assert [e["epoch"] for e in epochs] == list(range(1, 151))


def test_metrics_and_plot(real):
    server = real()
    a, b = train_id(server, 5), train_id(server, 3, model="second")
    wait_end(server, a), wait_end(server, b)
    rows = server.get(f"/v1/jobs/{a}/metrics?format=csv")
    assert rows.headers["Content-Type"].startswith("text/csv")
    table = [line.split(",") for line in rows.body.decode().splitlines()]
    assert len(table) == 6 and all(len(row) == len(table[0]) for row in table)
    assert {"epoch", "loss", "val_loss", "recall_angry"} <= set(table[0])
    assert [row[table[0].index("epoch")] for row in table[1:]] == ["1", "2", "3", "4", "5"]
    assert server.get(f"/v1/jobs/{a}/metrics?format=xml").status == 422
    plot = server.get(f"/v1/jobs/{a}/plot.svg?compare={b}&ids=true")
    assert plot.status == 200 and plot.headers["Content-Type"] == "image/svg+xml"
    text = plot.body.decode()
    assert text.startswith("<svg") and a in text and b in text and text.count('class="best"') == 5
    assert server.get(f"/v1/jobs/{a}/plot.svg?compare=job_none").status == 404


def test_disk_full(make_server, tmp_path):
    """A data folder of 3 MB fills up: 507, reading goes on, and with room again everything does."""
    data, corpora = tmp_path / "small", tmp_path / "corpora"
    data.mkdir()
    (corpora / "small").mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(data)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        server = make_server(worker_binary=FAKE, import_root=corpora, data=data)
        assert wait_end(server, import_folder(server, "ready", "small").json()["id"])
        ballast = data / "ballast"
        with pytest.raises(OSError):
            with open(ballast, "wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 4096)
        folders = set(os.listdir(data / "jobs"))
        answer = server.request("POST", "/v1/datasets?name=more", bytes(1 << 19), {"Content-Type": "application/zip"})
        assert answer.status == 507 and set(os.listdir(data / "jobs")) == folders
        statuses = [train(server, 1, pad=7).status for _ in range(40)]
        assert 507 in statuses and set(statuses) <= {202, 507}, statuses
        assert server.get("/v1/jobs").status == 200 and server.get("/readyz").status == 200
        ballast.unlink()
        last = train_id(server, 2)
        assert wait_end(server, last)["state"] == "succeeded"
        accepted = [j for j in server.get("/v1/jobs?limit=500").json()["data"]]
        assert len(accepted) == statuses.count(202) + 2
        for body in accepted:
            assert wait_end(server, body["id"])["state"] in ("succeeded", "failed")
            told = events(server, body["id"])
            assert [e["seq"] for e in told] == list(range(1, len(told) + 1))
        server.stop()
    finally:
        subprocess.run(["umount", "-l", str(data)], check=True)


def test_datasets(fake):
    server = fake()
    body = server.get("/v1/datasets/ready").json()
    assert body["state"] == "ready" and body["utterances"] == 5 and body["speakers"] == 1
    result = server.get(f"/v1/jobs/{body['job']}").json()["result"]
    assert result["dataset"] == body["id"] and result["utterances"] == 5
    assert body["classes"] == {"angry": 2, "happy": 1, "neutral": 1, "sad": 1}
    assert body["dropped"] == [{"utterance": "Ses01F_impro01_F009", "reason": "label xxx"}]
    assert server.get(f"/v1/datasets/{body['id']}").json() == body
    assert [d["name"] for d in server.get("/v1/datasets").json()["data"]] == ["ready"]
    report = server.get("/v1/datasets/ready/report").json()
    assert report["rejected"] == [{"file": "a.txt", "line": 3, "reason": "not a number"}]
    page = server.get("/v1/datasets/ready/samples?limit=2").json()
    assert len(page["data"]) == 2 and page["more"]
    rest = server.get(f"/v1/datasets/ready/samples?after={page['data'][-1]['id']}").json()
    assert len(rest["data"]) == 3 and not rest["more"]

    answer = import_folder(server, "ready", "small")
    assert answer.status == 409 and answer.json()["code"] == "name_taken"
    for path in ("../..", "/etc", "nowhere", "small/../../..", ""):
        assert import_folder(server, "bad", path).status == 422, path
    (server.folder.parent / "corpora" / "link").symlink_to("/etc")
    assert import_folder(server, "bad", "link").status == 422
    for wrong in ({"name": "a/b"}, {"name": ""}, {"lay": "iemocap"}, {"source": {}},
                  {"source": {"path": "small", "url": "x"}}, {"source": None},
                  {"features": {"preset": "none"}}):
        answer = server.post_json("/v1/datasets", {"name": "bad", "source": {"path": "small"}} | wrong)
        assert answer.status == 422, (wrong, answer.body)
    assert server.get("/v1/datasets/bad").status == 404

    running = train_id(server, 10000, delay_ms=10)
    assert server.request("DELETE", "/v1/datasets/ready").status == 409
    server.request("POST", f"/v1/jobs/{running}/cancel")
    wait_end(server, running)
    assert server.request("DELETE", "/v1/datasets/ready").status == 204
    assert server.get("/v1/datasets/ready").status == 404
    assert not (server.folder / "data" / "datasets" / body["id"]).exists()


def test_archives(fake):
    server = fake()
    archive = b"PK\x05\x06" + bytes(18)
    answer = server.post_form("/v1/datasets", {"name": "form", "layout": "iemocap",
                                               "archive": ("a.zip", archive)})
    assert answer.status == 202, answer.body
    job_id = answer.json()["id"]
    assert wait_end(server, job_id)["state"] == "succeeded"
    upload = server.folder / "data" / "jobs" / job_id / "upload"
    server.wait_for(lambda: not upload.exists(), "removal of the archive")
    raw = server.request("POST", "/v1/datasets?name=raw&layout=iemocap", b"\x1f\x8b" + bytes(3 << 20),
                         {"Content-Type": "application/gzip"})
    assert raw.status == 202, raw.body
    assert wait_end(server, raw.json()["id"])["state"] == "succeeded"
    assert server.get("/v1/datasets/raw").json()["state"] == "ready"
    unknown = server.post_form("/v1/datasets", {"name": "x", "archiv": ("a.zip", archive)})
    assert unknown.status == 422 and unknown.json()["errors"][0]["pointer"] == "/archiv"
    assert server.post_form("/v1/datasets", {"name": "x"}).status == 422
    assert server.request("POST", "/v1/datasets?name=x", b"", {"Content-Type": "application/zip"}
                          ).status == 422
    spool = server.folder / "data" / "spool"
    server.wait_for(lambda: not list(spool.iterdir()), "an empty spool")


def test_failed_import_frees_the_name(fake):
    server = fake()
    slow = import_folder(server, "slow", "small").json()["id"]
    wait_state(server, slow, "running")
    assert server.get("/v1/datasets/slow").json()["state"] == "importing"
    assert import_folder(server, "slow", "small").status == 409
    assert train(server, 1).status == 202
    early = server.post_json("/v1/jobs", {"type": "train", "dataset": "slow", "model": "m"})
    assert early.status == 409
    server.request("POST", f"/v1/jobs/{slow}/cancel")
    assert wait_end(server, slow)["state"] == "cancelled"
    assert server.get("/v1/datasets/slow").json()["state"] == "failed"
    assert import_folder(server, "slow", "small").status == 202


def test_a_dry_run_that_hangs_holds_no_handler(fake):
    """One handler: it answers while a dry run hangs; a second dry run is refused; the first ends at its deadline."""
    server = fake(api_threads=1, dry_run_deadline_seconds=4)
    body = {"type": "train", "dataset": "ready", "model": "m", "variables": {"fake": "hang"}}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.post_json, "/v1/jobs?dry_run=true", body)
        server.wait_for(lambda: list((server.folder / "data/staging").glob("*.json")), "a dry run")
        assert server.get("/v1/jobs").status == 200 and not first.done()
        second = server.post_json("/v1/jobs?dry_run=true", body)
        assert second.status == 503 and second.json()["code"] == "busy"
        assert not first.done()
        assert first.result().status == 503 and first.result().json()["code"] == "timeout"
    link = server.connect()  # a client that leaves ends it
    text = json.dumps(body).encode()
    link.sendall(b"POST /v1/jobs?dry_run=true HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                 b"Content-Length: %d\r\n\r\n" % len(text) + text)
    server.wait_for(lambda: list((server.folder / "data/staging").glob("*.json")), "another dry run")
    link.close()
    server.wait_for(lambda: not list((server.folder / "data/staging").glob("*.json")), "its end")


def test_no_epoch_is_lost_in_a_pipe(real):
    """Epochs of milliseconds: many are in the pipe when the server is killed, and behind the last checkpoint."""
    server = real(job_max_restarts=100)
    job_id = train_id(server, 500)
    for _ in range(3):
        before = len(events(server, job_id))
        server.wait_for(lambda: job(server, job_id)["last_seq"] > before + 60, "epochs", 120)  # noqa: B023
        server.stop(signal.SIGKILL)
        server.start()
    body = wait_end(server, job_id, 300)
    assert body["state"] == "succeeded" and body["best"]["epoch"] == body["result"]["best"]["epoch"], body
    assert [e["epoch"] for e in server.get(f"/v1/jobs/{job_id}/metrics").json()["epochs"]] == list(range(1, 501))
    server.wait_for(lambda: not list((server.folder / "data/jobs" / job_id).glob("epochs*")), "the epochs' file to leave")


def test_a_parent_that_ignores_its_children(make_server, tmp_path):
    """SIGCHLD ignored is inherited over exec, and the kernel then reaps workers before the server can: jobs would never end."""
    (tmp_path / "corpora/empty").mkdir(parents=True)
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        server = make_server(import_root=tmp_path / "corpora")
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert wait_end(server, import_folder(server, "none", "empty").json()["id"], 20)["state"] == "failed"
    assert server.stop() == 0
