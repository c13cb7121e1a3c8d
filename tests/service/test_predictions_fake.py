"""Predictions with a predictor that computes nothing: what reaches it, and what a client hears
when it is slow, hangs, dies, or when too many ask."""
import concurrent.futures
import contextlib
import json
import time

import pytest

from test_jobs import FAKE, fake, train_id, wait_end  # noqa: F401


@pytest.fixture
def ready(fake):  # noqa: F811
    """ready(**settings) -> a server with version 1 of the model "m"."""

    def make(**settings):
        server = fake(**settings)
        assert wait_end(server, train_id(server, 1, model="m"))["state"] == "succeeded"
        return server

    return make


def predict(server, **parts):
    fields = {name: (f"{name}.bin", value) if isinstance(value, bytes) else value
              for name, value in parts.items()}
    return server.post_form("/v1/predictions", {"model": "m", **fields})


def test_answer(ready):
    server = ready()
    answer = predict(server, audio=b"a" * 1000, mocap_face=b"f" * 10, start="6.29", end="8.24")
    assert answer.status == 200, answer.body
    body = answer.json()
    assert body["model"] == "m" and body["version"] == 1 and body["label"] == "angry"
    assert list(body["probabilities"]) == ["angry", "happy", "neutral", "sad"]
    assert body["streams"] == {"audio": {"bytes": 1000}, "mocap_face": {"bytes": 10}}
    assert body["window"] == [6.29, 8.24] and body["model_file"] == "1.safetensors"
    large = predict(server, audio=b"a" * (5 << 20), mocap_head=b"h")
    assert large.json()["streams"] == {"audio": {"bytes": 5 << 20}, "mocap_head": {"bytes": 1}}
    assert large.json()["warnings"] == ["mocap_face: missing"]
    spool = server.folder / "data" / "spool"
    server.wait_for(lambda: not list(spool.iterdir()), "an empty spool")
    assert predict(server, model="m:1", audio=b"a").status == 200


@pytest.mark.parametrize(
    "parts, status, pointer",
    [
        ({"video": b"v", "audio": b"a"}, 422, "/video"),
        ({}, 422, None),
        ({"start": "1", "end": "2"}, 422, None),
        ({"audio": b"a", "start": "soon"}, 422, "/start"),
        ({"audio": b"a", "start": "-1"}, 422, "/start"),
        ({"audio": b"a", "start": "nan"}, 422, "/start"),
        ({"audio": b"a", "start": "3", "end": "2"}, 422, "/end"),
        ({"audio": b"a", "model": "../m"}, 422, "/model"),
        ({"audio": b"a", "model": "m:x"}, 422, "/model"),
        ({"audio": b"a", "model": ""}, 422, "/model"),
        ({"audio": b"a", "model": "m:2"}, 404, None),
        ({"audio": b"a", "model": "nobody"}, 404, None),
        ({"audio": b"BAD"}, 422, None),
    ],
)
def test_refusals(ready, parts, status, pointer):
    server = ready()
    answer = predict(server, **parts)
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    pointers = [e["pointer"] for e in answer.json().get("errors", [])]
    assert pointers == ([pointer] if pointer else [])
    assert predict(server, audio=b"good").status == 200


def test_predictor_killed_in_the_middle(ready):
    server = ready()
    before = predict(server, audio=b"good").json()
    for _ in range(3):
        answer = predict(server, audio=b"DIE")
        assert answer.status == 502 and answer.json()["code"] == "predictor_lost"
        server.wait_for(lambda: server.get("/readyz").status == 200, "readiness")
        assert predict(server, audio=b"good").json() == before


def test_deadline(ready):
    server = ready(prediction_deadline_seconds=0.7)
    answer = predict(server, audio=b"HANG")
    assert answer.status == 503 and answer.json()["code"] == "timeout"
    server.wait_for(lambda: server.get("/readyz").status == 200, "readiness")
    assert predict(server, audio=b"good").status == 200


def test_full_queue(ready):
    server = ready(prediction_queue=3, prediction_deadline_seconds=20)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: predict(server, audio=b"SLOW"), range(12)))
    statuses = sorted(a.status for a in answers)
    assert set(statuses) == {200, 503} and statuses.count(200) >= 4
    refused = [a for a in answers if a.status == 503]
    assert all(a.json()["code"] == "busy" and int(a.headers["Retry-After"]) > 0 for a in refused)
    assert predict(server, audio=b"good").status == 200


def predict_all(server, bodies):
    """Answers to predictions that are all asked for at the same time."""
    with concurrent.futures.ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(lambda body: predict(server, audio=body), bodies))


@contextlib.contextmanager
def busy_predictor(server):
    """The predictor works on something until the end of the block."""
    gate = server.folder / f"gate{time.monotonic_ns()}"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        busy = pool.submit(predict, server, audio=b"UNTIL " + str(gate).encode())
        try:
            server.wait_for(lambda: server.metric("affectd_predictors_busy") == 1, "work")
            yield
        finally:
            gate.touch()
        assert busy.result().status == 200


def wait_for_queue(server, n):
    server.wait_for(lambda: server.metric("affectd_predictions_queued") == n, f"{n} in the queue")


def sent_while_busy(server, bodies, models=None):
    """Answers to predictions that were all waiting when the predictor became free."""
    with concurrent.futures.ThreadPoolExecutor(len(bodies)) as pool:
        with busy_predictor(server):
            answers = []
            for i, body in enumerate(bodies):
                answers.append(pool.submit(predict, server, audio=body,
                                           **({"model": models[i]} if models else {})))
                wait_for_queue(server, i + 1)
        return [a.result() for a in answers]


def test_waiting_requests_are_one_batch(ready):
    """What arrives while the predictor computes is its next batch, up to the limit."""
    server = ready(prediction_max_batch=4)
    assert predict(server, audio=b"SIZE").json()["batch"] == 1
    answers = sent_while_busy(server, [b"SIZE"] * 6)
    assert sorted(a.json()["batch"] for a in answers) == [2, 2, 4, 4, 4, 4]
    assert server.metric('affectd_prediction_batch_size_bucket{le="1"}') == 2
    assert server.metric('affectd_prediction_batch_size_bucket{le="4"}') == 4
    assert server.metric("affectd_prediction_batch_size_sum") == 8
    assert server.metric("affectd_prediction_wait_seconds_total") > 0


def test_window(ready):
    """After a batch with company, a request waits a window for others, and no longer; after one
    without company it waits for nobody."""
    server = ready(prediction_batch_window_ms=1000, prediction_max_batch=3)
    start = time.monotonic()
    assert predict(server, audio=b"SIZE").json()["batch"] == 1
    assert time.monotonic() - start < 1
    answers = sent_while_busy(server, [b"SIZE"] * 2)
    assert [a.json()["batch"] for a in answers] == [2, 2]
    answers = predict_all(server, [b"SIZE"] * 3)  # a full batch does not wait for its window
    assert [a.json()["batch"] for a in answers] == [3, 3, 3]
    waited = server.metric("affectd_prediction_wait_seconds_total")
    assert predict(server, audio=b"SIZE").json()["batch"] == 1
    waited = server.metric("affectd_prediction_wait_seconds_total") - waited
    assert waited >= 1  # nobody came


def test_a_batch_is_of_one_model(ready):
    server = ready()
    assert wait_end(server, train_id(server, 1, model="other"))["state"] == "succeeded"
    models = ["m", "other", "m", "other"]
    answers = [a.json() for a in sent_while_busy(server, [b"SIZE"] * 4, models)]
    assert [a["model"] for a in answers] == models
    assert [a["batch"] for a in answers] == [2, 2, 2, 2]


def test_a_bad_one_in_a_batch(ready):
    server = ready()
    answers = sent_while_busy(server, [b"SIZE", b"BAD", b"SIZE"])
    assert [a.status for a in answers] == [200, 422, 200]
    assert answers[0].json()["batch"] == 3


def test_predictor_lost_in_mid_batch(ready):
    """Each of the batch hears that its predictor was lost; a new one answers what comes next."""
    server = ready()
    answers = sent_while_busy(server, [b"SIZE", b"DIE", b"SIZE", b"SIZE"])
    assert [a.status for a in answers] == [200, 502, 502, 502]  # the first was answered before
    assert all(a.json()["code"] == "predictor_lost" for a in answers[1:])
    assert server.metric("affectd_predictions_lost_total") == 3
    assert [a.status for a in predict_all(server, [b"good"] * 4)] == [200] * 4


def test_late_requests_are_not_computed(ready):
    """A request whose deadline passes while it waits is answered then, and never handed over."""
    server = ready(prediction_deadline_seconds=0.8, prediction_max_batch=1)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(predict, server, audio=b"SLOW") for _ in range(6)]
        answers = [a.result() for a in answers]
    late = [a for a in answers if a.status == 503]
    assert 1 <= len(late) <= 5
    assert all(a.json()["code"] == "timeout" and int(a.headers["Retry-After"]) > 0 for a in late)
    assert server.metric("affectd_predictions_expired_total") == len(late)
    server.wait_for(lambda: server.metric("affectd_predictors_busy") == 0, "the end of the work")
    handed = server.metric("affectd_prediction_batch_size_sum")
    assert handed < 6
    assert predict(server, audio=b"good").status == 200


def test_a_late_one_does_not_end_its_batch(ready, tmp_path):
    """The one whose deadline passes while its batch is computed hears it; the other, which came
    later, gets its answer from the same predictor."""
    server, gate = ready(prediction_deadline_seconds=3), tmp_path / "gate"
    pid = predict(server, audio=b"SIZE").json()["pid"]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        with busy_predictor(server):
            first = pool.submit(predict, server, audio=b"UNTIL " + str(gate).encode())
            wait_for_queue(server, 1)
            time.sleep(1.5)
            second = pool.submit(predict, server, audio=b"SIZE")
            wait_for_queue(server, 2)
        assert first.result().status == 503 and first.result().json()["code"] == "timeout"
        gate.touch()
        assert second.result().status == 200, second.result().body
    assert second.result().json()["batch"] == 2 and second.result().json()["pid"] == pid
    assert server.metric("affectd_predictions_expired_total") == 1


def test_those_who_left_are_not_in_the_batch(ready):
    server = ready()
    body = (b'--edge\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n'
            b'--edge\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\nSIZE'
            b'\r\n--edge--\r\n')
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        with busy_predictor(server):
            for _ in range(3):
                with server.connect() as link:
                    link.sendall(b"POST /v1/predictions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
                                 b"Content-Type: multipart/form-data; boundary=edge\r\n\r\n" % len(body) + body)
                    wait_for_queue(server, 1)
                server.wait_for(lambda: server.metric("affectd_predictions_queued") == 0, "a free place")
            stays = [pool.submit(predict, server, audio=b"SIZE") for _ in range(2)]
            wait_for_queue(server, 2)
        assert [a.result().json()["batch"] for a in stays] == [2, 2]
    assert server.metric("affectd_predictions_left_total") == 3


def test_several_predictors(ready):
    """While one predictor works on a long request, others answer."""
    server = ready(predictors=2, prediction_deadline_seconds=2)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(predict, server, audio=b"HANG")
        time.sleep(0.2)
        assert [predict(server, audio=b"good").status for _ in range(5)] == [200] * 5
        assert hanging.result().status == 503


def test_client_that_leaves(ready):
    """A client that leaves while its prediction waits costs nothing: the next is answered."""
    server = ready()
    before = server.metric("process_open_fds")
    body = (b'--edge\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n'
            b'--edge\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\nSLOW\r\n--edge--\r\n')
    for _ in range(5):
        with server.connect() as link:
            link.sendall(b"POST /v1/predictions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
                         b"Content-Type: multipart/form-data; boundary=edge\r\n\r\n" % len(body) + body)
            time.sleep(0.05)
    assert predict(server, audio=b"good").status == 200
    server.wait_for(lambda: server.metric("process_open_fds") <= before + 1, "descriptors")


def test_not_ready_without_a_predictor(ready, tmp_path):
    """A predictor program that ends at once: not ready, but alive; and back when it works again."""
    broken, switch = tmp_path / "switch", tmp_path / "broken"
    switch_text = f'#!/bin/sh\nif [ "$1" = predict ] && [ -e {broken} ]; then exit 1; fi\n'
    switch.write_text(switch_text + f'exec {FAKE} "$@"\n')
    switch.chmod(0o755)
    server = ready(binary=switch, prediction_deadline_seconds=1)
    broken.touch()
    assert predict(server, audio=b"DIE").status == 502
    server.wait_for(lambda: server.get("/readyz").status == 503, "not being ready")
    assert server.get("/livez").status == 200
    answer = predict(server, audio=b"good")
    assert answer.status == 503 and answer.json()["code"] == "timeout"
    broken.unlink()
    server.wait_for(lambda: server.get("/readyz").status == 200, "readiness")
    assert predict(server, audio=b"good").status == 200


def test_the_log_of_predictors_is_bounded(ready):
    server = ready(predictors=1)
    log = server.folder / "data/predictor.log"
    pid = predict(server, audio=b"SIZE").json()["pid"]
    for _ in range(12):
        assert predict(server, audio=b"NOISE").status == 200
    server.wait_for(lambda: log.stat().st_size <= 1 << 20, "a log of at most its bound", 10)
    assert predict(server, audio=b"NOISE").status == 200 and log.stat().st_size >= 600000, "it is written on"
    assert predict(server, audio=b"SIZE").json()["pid"] == pid, "by the same process"


def test_large_metadata_of_a_model_is_kept(fake):  # noqa: F811
    server = fake()
    assert wait_end(server, train_id(server, 1, n_labels=6000))["state"] == "succeeded"
    body = server.get("/v1/models/first/versions/1").json()
    assert len(json.dumps(body)) > 256 << 10 and len((body.get("metadata") or body)["labels"]) == 6000
