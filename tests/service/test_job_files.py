"""What a job leaves: files that are served, folders and rows that are removed."""
import hashlib
import json
import signal

import pytest

from test_jobs import events, fake, job, real, train, train_id, wait_end, wait_state  # noqa: F401

pytestmark = pytest.mark.sanitized


def evaluate(server, model="first", part="all"):
    answer = server.post_json("/v1/jobs", {"type": "evaluate", "dataset": "ready", "model": model, "part": part})
    assert answer.status == 202, answer.body
    return answer.json()["id"]


def delete(server, job_id):
    return server.request("DELETE", f"/v1/jobs/{job_id}")


def folder_of(server, job_id):
    return server.folder / "data/jobs" / job_id


def test_evaluation_results_are_files(real):  # noqa: F811
    server = real()
    trained = train_id(server, 2)
    assert wait_end(server, trained)["state"] == "succeeded"
    evaluated = evaluate(server)
    body = wait_end(server, evaluated)
    assert body["state"] == "succeeded" and body["result"]["metrics"]["accuracy"] >= 0, body
    file, table = body["result"]["artifacts"]
    assert (file["name"], table["name"]) == ("predictions.jsonl", "predictions.csv")

    listed, second = server.get(body["links"]["artifacts"]).json()["data"]
    assert second["content_type"].startswith("text/csv") and second["bytes"] == table["bytes"]
    assert listed == file | {"content_type": "application/x-ndjson", "links": {
        "self": f"/v1/jobs/{evaluated}/artifacts/predictions.jsonl"}}
    answer = server.get(listed["links"]["self"])
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/x-ndjson"
    assert len(answer.body) == file["bytes"] and hashlib.sha256(answer.body).hexdigest() == file["sha256"]
    rows = [json.loads(line) for line in answer.body.splitlines()]
    assert len(rows) == body["result"]["utterances"] == len({row["utterance"] for row in rows})
    for row in rows:
        best = max(row["probabilities"], key=row["probabilities"].get)
        assert row["predicted"] == best and row["label"] in row["probabilities"]

    etag = answer.headers["ETag"]
    assert etag == f'"{file["sha256"]}"'
    assert server.get(listed["links"]["self"], If_None_Match=etag).status == 304
    part = server.get(listed["links"]["self"], Range="bytes=2-5")
    assert part.status == 206 and part.body == answer.body[2:6]
    for name in ("spec.json", "log", "..%2f..%2faffectd.sqlite", "none", "%2e%2e"):
        assert server.get(f"/v1/jobs/{evaluated}/artifacts/{name}").status == 404, name
    of_training = server.get(f"/v1/jobs/{trained}/artifacts").json()["data"]
    assert [f["name"] for f in of_training] == ["predictions.jsonl", "predictions.csv"]
    assert server.get(of_training[1]["links"]["self"]).body.count(b"\n") == 1 + sum(
        map(sum, server.get(f"/v1/jobs/{trained}").json()["result"]["metrics"]["val_confusion"]))
    assert server.get("/v1/jobs/job_none/artifacts").status == 404
    assert not any("predictions" in e for e in events(server, evaluated))


def test_delete(real):  # noqa: F811
    server = real()
    trained = train_id(server, 2)
    assert wait_end(server, trained)["state"] == "succeeded"
    server.wait_for(lambda: not (folder_of(server, trained) / "last.safetensors").exists(), "a checkpoint less")
    assert (folder_of(server, trained) / "best.safetensors").exists()
    running, queued = train_id(server, 100000), train_id(server, 1)
    wait_state(server, running, "running")
    for job_id in (running, queued):
        answer = delete(server, job_id)
        assert answer.status == 409 and answer.json()["allowed"] == ["cancel"], answer.body
    assert delete(server, "job_none").status == 404

    server.request("POST", f"/v1/jobs/{queued}/cancel")
    server.request("POST", f"/v1/jobs/{running}/pause")
    wait_state(server, running, "paused")
    for job_id in (trained, queued, running):
        assert delete(server, job_id).status == 204
        for path in ("", "/events", "/metrics", "/artifacts"):
            assert server.get(f"/v1/jobs/{job_id}{path}").status == 404, path
        assert not folder_of(server, job_id).exists()
        assert delete(server, job_id).status == 404
    assert not list((server.folder / "data/jobs").glob(".job_*"))
    assert trained not in [row["id"] for row in server.get("/v1/jobs").json()["data"]]
    assert server.get("/v1/models/first/versions/1/artifact").status == 200, "what it made stays"
    assert wait_end(server, evaluate(server))["state"] == "succeeded"


def test_a_deletion_that_a_kill_cut(real):  # noqa: F811
    """A folder that went aside comes back when its job is still there, else it goes."""
    server = real()
    trained = train_id(server, 1)
    assert wait_end(server, trained)["state"] == "succeeded"
    server.stop(signal.SIGKILL)
    folder = folder_of(server, trained)
    folder.rename(folder.with_name("." + trained))
    gone = folder.with_name(".job_gone")
    gone.mkdir()
    (gone / "best.safetensors").write_bytes(b"weights")
    (folder.with_name("." + trained) / "last.safetensors").write_bytes(b"of a kill before its removal")
    server.start()
    assert (folder / "best.safetensors").exists() and not (folder / "last.safetensors").exists()
    assert not list(folder.parent.glob(".job_*"))


def test_retention(fake):  # noqa: F811
    server = fake(job_retention_count=2)
    ids = [train_id(server, 1) for _ in range(4)]
    for job_id in ids:
        server.wait_for(lambda: job(server, job_id).get("terminal", True), "an end")  # noqa: B023
    server.wait_for(lambda: len(server.get("/v1/jobs").json()["data"]) == 2, "removal", 60)
    assert [row["id"] for row in server.get("/v1/jobs").json()["data"]] == ids[:1:-1]
    assert not folder_of(server, ids[0]).exists() and folder_of(server, ids[3]).exists()
    assert server.get("/v1/models/first").json()["latest"] == 4
