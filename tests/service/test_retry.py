"""POST /v1/jobs/{job}/retry: the request of a job that failed or was cancelled, as a new job that names it."""
import json
import sqlite3

import pytest

from test_jobs import fake, import_folder, train, train_id, wait_end, wait_state  # noqa: F401

pytestmark = pytest.mark.sanitized


def retry(server, job, **headers):
    return server.request("POST", f"/v1/jobs/{job}/retry", headers={k.replace("_", "-"): v for k, v in headers.items()})


def test_a_failed_job_is_made_again(fake):  # noqa: F811
    server = fake()
    failed = train_id(server, fake="exit")
    body = wait_end(server, failed)
    assert body["state"] == "failed" and body["retry_of"] is None and body["parent"] is None
    assert body["links"]["retry"] == f"/v1/jobs/{failed}/retry"
    answer = retry(server, failed)
    again = answer.json()
    assert answer.status == 202 and answer.headers["Location"] == f"/v1/jobs/{again['id']}"
    assert again["id"] != failed and again["retry_of"] == failed and again["request"] == body["request"]
    assert wait_end(server, again["id"])["state"] == "failed"
    assert server.get(f"/v1/jobs/{failed}").json() == body, "the old job stays as it is"
    assert retry(server, again["id"]).json()["retry_of"] == again["id"]


def test_only_what_ended_without_success(fake):  # noqa: F811
    server = fake()
    done = train_id(server)
    body = wait_end(server, done)
    assert body["state"] == "succeeded" and "retry" not in body["links"]
    refused = retry(server, done)
    assert refused.status == 409 and refused.json()["allowed"] == [], refused.body
    running = train_id(server, epochs=1000, fake="epochs", delay_ms=20)
    wait_state(server, running, "running")
    refused = retry(server, running)
    assert refused.status == 409 and sorted(refused.json()["allowed"]) == ["cancel", "pause"]
    server.request("POST", f"/v1/jobs/{running}/cancel")
    assert wait_end(server, running)["state"] == "cancelled"
    assert server.request("POST", f"/v1/jobs/{running}/pause").json()["allowed"] == ["retry"]
    answer = retry(server, running)
    assert answer.status == 202
    server.request("POST", f"/v1/jobs/{answer.json()['id']}/cancel")
    assert retry(server, "job_of_nobody").status == 404
    wrong = server.post_json(f"/v1/jobs/{running}/retry", {"epochs": 3})
    assert wrong.status == 422


def test_imports_are_made_elsewhere(fake):  # noqa: F811
    server = fake()
    failed = import_folder(server, "broken", "small").json()["id"]
    body = wait_end(server, failed)
    assert body["state"] == "failed" and "retry" not in body["links"]
    refused = retry(server, failed)
    assert refused.status == 409 and refused.json()["allowed"] == [] and "not in its request" in refused.json()["detail"]


def test_a_key_makes_one_retry(fake):  # noqa: F811
    server = fake()
    failed = train_id(server, fake="exit")
    body = wait_end(server, failed)
    first, second = (retry(server, failed, Idempotency_Key="once").json()["id"] for _ in range(2))
    assert first == second != failed
    other = train_id(server, fake="exit")
    wait_end(server, other)
    assert retry(server, other, Idempotency_Key="once").status == 409, "of another job"
    assert server.post_json("/v1/jobs", body["request"], **{"Idempotency-Key": "once"}).status == 409, "no retry"


def test_what_it_needs_is_gone(fake):  # noqa: F811
    server = fake()
    failed = train_id(server, fake="exit")
    wait_end(server, failed)
    assert server.request("DELETE", "/v1/datasets/ready").status == 204
    answer = retry(server, failed)
    assert answer.status == 422 and answer.json()["errors"][0]["pointer"] == "/dataset", answer.body


def test_specifications_name_no_folder(fake):  # noqa: F811
    """What is stored can be moved; what the worker reads is absolute."""
    server = fake()
    wait_end(server, train_id(server))
    archive = server.request("POST", "/v1/datasets?name=packed", b"PK\x05\x06" + bytes(18),
                             {"Content-Type": "application/zip"}).json()["id"]
    wait_end(server, archive)
    evaluate = server.post_json("/v1/jobs", {"type": "evaluate", "model": "first", "dataset": "ready"}).json()["id"]
    assert wait_end(server, evaluate)["state"] == "succeeded"
    data = str(server.folder / "data")
    with sqlite3.connect(server.folder / "data/affectd.sqlite") as db:
        rows = db.execute("SELECT id, type, spec FROM jobs").fetchall()
    assert {row[1] for row in rows} == {"import", "train", "evaluate"}
    for job, _, text in rows:
        spec = json.loads(text)
        values = [v for v in [*spec.values(), *spec.get("source", {}).values()] if isinstance(v, str)]
        assert not any(value.startswith("/") for value in values), spec
        read = json.loads((server.folder / "data/jobs" / job / "spec.json").read_text())
        assert read["output"] == f"{data}/{spec['output']}"
