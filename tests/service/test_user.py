"""What users try, on the real programs: other kinds of sound, a file in the wrong field, windows,
names, queries, deleting what is in use, cancelling at any time, two jobs at once, a server that is
restarted under a job. Each answer says what is wrong; nothing of it changes another result.
"""
import fcntl
import gzip
import io
import json
import signal
import struct
import time
import wave

import pytest

np = pytest.importorskip("numpy")

from test_failures import (IMPORT, TRAIN, Running, SmallTree, children, problem, running, service,  # noqa: E402, F401
                           start_job, tar_of, wait_end)

LONG = TRAIN | {"model": "long", "training": {"epochs": 100000, "batch_size": 4}}


def wait_state(server, job_id, *states):
    server.wait_for(lambda: server.get(f"/v1/jobs/{job_id}").json()["state"] in states, f"{states}")


def cancel(server, job_id):
    assert server.request("POST", f"/v1/jobs/{job_id}/cancel").status in (200, 202)
    return wait_end(server, job_id)


# ---- Sound ----

def tone(rate):
    t = np.arange(rate) / rate
    return 0.3 * np.sin(2 * np.pi * 440 * t) * (1 + 0.5 * np.sin(2 * np.pi * 3 * t))


def wav_of(x, rate, width, channels=1):
    """PCM of 1, 2 or 3 bytes a sample."""
    scale, offset = 2 ** (8 * width - 1) - 1, 128 if width == 1 else 0
    whole = np.repeat(np.round(x * scale).astype("<i4") + offset, channels)
    memory = io.BytesIO()
    with wave.open(memory, "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(whole.view(np.uint8).reshape(-1, 4)[:, :width].tobytes())
    return memory.getvalue()


def float_wav_of(x, rate):
    data = x.astype("<f4").tobytes()
    return (b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " +
            struct.pack("<IHHIIHH", 16, 3, 1, rate, 4 * rate, 4, 32) +
            b"data" + struct.pack("<I", len(data)) + data)


SOUNDS = {
    "8 bit": (lambda: wav_of(tone(16000), 16000, 1), 0.05),
    "24 bit": (lambda: wav_of(tone(16000), 16000, 3), 1e-3),
    "float": (lambda: float_wav_of(tone(16000), 16000), 1e-3),
    "stereo of 48 kHz": (lambda: wav_of(tone(48000), 48000, 2, channels=2), 0.05),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_kinds_of_sound(service, name):  # noqa: F811
    make, tolerance = SOUNDS[name]
    usual = service.predict(audio=wav_of(tone(16000), 16000, 2)).json()
    answer = service.predict(audio=make())
    assert answer.status == 200, answer.body
    audio = answer.json()["streams"]["audio"]
    assert audio["seconds"] == pytest.approx(1) and not audio["truncated"] and not audio["silent"]
    assert audio["sample_rate"] == (48000 if "48" in name else 16000)
    assert audio["channels"] == (2 if "stereo" in name else 1)
    for label, p in answer.json()["probabilities"].items():
        assert abs(p - usual["probabilities"][label]) < tolerance


@pytest.mark.parametrize("kind", ["FLAC", "OGG", "MP3"])
def test_compressed_sound(service, kind):  # noqa: F811
    soundfile = pytest.importorskip("soundfile")
    if kind not in soundfile.available_formats():
        pytest.skip(f"this soundfile writes no {kind}")
    memory = io.BytesIO()
    soundfile.write(memory, tone(16000), 16000, format=kind)
    answer = service.predict(audio=memory.getvalue())
    if answer.status == 200:
        assert answer.json()["streams"]["audio"]["sample_rate"] == 16000
    else:  # a libsndfile before 1.1 knows no mp3
        problem(answer, 422, "unreadable", "audio")


def test_sounds_that_are_none(service):  # noqa: F811
    problem(service.predict(audio=float_wav_of(np.full(16000, np.nan), 16000)), 422, "unreadable", "nan")
    problem(service.predict(audio=wav_of(tone(16000), 10, 2)), 422, "unsupported", "10 samples a second")
    silent = service.predict(audio=wav_of(np.zeros(16000), 16000, 2))
    assert silent.status == 200 and "audio: silent" in silent.json()["warnings"]
    for amplitude, faint in ((1e-6, True), (3e-5, False)):  # a peak just above the floor; one step of 16 bits
        answer = service.predict(audio=float_wav_of(amplitude * tone(16000), 16000)).json()
        assert answer["streams"]["audio"]["faint"] is faint and not answer["streams"]["audio"]["silent"], amplitude
        assert any("almost silent" in w for w in answer["warnings"]) is faint


# ---- Parts ----

@pytest.mark.parametrize("field, stream, words", [
    ("mocap_head", "face", ["head", "165 values", "need 6"]),
    ("mocap_face", "head", ["face", "6 values", "need 165"]),
    ("mocap_hand", "face", ["hand", "165 values", "need 18"]),
    ("mocap_face", "wav", ["face", "no rows"]),
    ("audio", "hand", ["audio", "sound file"]),
])
def test_a_file_in_the_wrong_field(service, field, stream, words):  # noqa: F811
    problem(service.predict(**{field: getattr(service, stream)}), 422, "unreadable", *words)


def test_windows(service):  # noqa: F811
    def rows(**window):
        answer = service.predict(audio=wav_of(tone(16000)[:8000], 16000, 2), mocap_face=service.face, **window)
        assert answer.status == 200, answer.body
        return answer.json()["streams"]["face"]["rows"], answer.json()["warnings"]

    whole = rows()[0]
    assert rows(start="2")[0] + rows(end="2")[0] == whole
    assert rows(start="0", end="1000")[0] == whole
    n, warnings = rows(start="100")
    assert n == 0 and any("no rows in the window" in w for w in warnings)
    for wrong, pointer in (({"start": "3", "end": "2"}, "/end"), ({"start": "2", "end": "2"}, "/end"),
                           ({"start": "-1"}, "/start"), ({"start": "NaN"}, "/start"),
                           ({"end": "inf"}, "/end"), ({"start": ""}, "/start"),
                           ({"start": "1,5"}, "/start"), ({"end": "2s"}, "/end")):
        answer = service.predict(audio=service.wav, mocap_face=service.face, **wrong)
        assert [e["pointer"] for e in problem(answer, 422, "invalid")["errors"]] == [pointer], wrong


def test_sound_of_a_whole_dialog(service):  # noqa: F811
    """audio_start and audio_end cut the sound: the answer is that of the sound cut beforehand."""
    turn, rest = tone(16000), 0.1 * np.sin(np.arange(32000) / 7)
    dialog = wav_of(np.concatenate([rest, turn, rest]), 16000, 2)
    cut = service.predict(audio=wav_of(turn, 16000, 2)).json()
    answer = service.predict(audio=dialog, audio_start="2", audio_end="3").json()
    assert answer["streams"]["audio"]["seconds"] == 1
    assert answer["probabilities"] == cut["probabilities"]
    assert service.predict(audio=dialog, audio_start="3.5").json()["streams"]["audio"]["seconds"] == 1.5
    assert service.predict(audio=dialog, audio_end="0.5").json()["streams"]["audio"]["seconds"] == 0.5
    # beside an utterance's window of the motion, a whole dialog's sound is a mistake
    window = {"mocap_face": service.face, "start": "0.2", "end": "1.2"}
    problem(service.predict(audio=dialog, **window), 422, "invalid", "5.00 s", "audio_start")
    assert service.predict(audio=wav_of(turn, 16000, 2), **window).status == 200
    both = service.predict(audio=dialog, audio_start="2", audio_end="3", **window)
    assert both.status == 200 and not both.json()["streams"]["audio"]["truncated"]
    for wrong, pointer in (({"audio_start": "3", "audio_end": "2"}, "/audio_end"),
                           ({"audio_start": "-1"}, "/audio_start"), ({"audio_end": "nan"}, "/audio_end"),
                           ({"audio_end": "0"}, "/audio_end")):
        answer = service.predict(audio=dialog, **wrong)
        assert [e["pointer"] for e in problem(answer, 422, "invalid")["errors"]] == [pointer], wrong
    problem(service.predict(audio=dialog, audio_start="6"), 422, "unreadable", "no samples from 6")


def test_motion_without_a_row(service):  # noqa: F811
    """Headers only: the stream is missing, with a warning. No label is made of nothing."""
    header = b"Frame# Time LHD.pitch\n  X Y Z\n"
    answer = service.predict(audio=service.wav, mocap_face=header)
    assert answer.status == 200, answer.body
    assert answer.json()["streams"]["face"]["rows"] == 0
    assert "face: no rows after the header: taken as missing" in answer.json()["warnings"]
    problem(service.predict(mocap_face=header), 422, "invalid", "nothing to classify")
    problem(service.predict(mocap_face=service.face, start="1000"), 422, "invalid", "no stream has a value in its window")
    problem(service.predict(mocap_face=service.face, start="0.0001", end="0.0002"), 422, "invalid", "no stream has a value")
    assert service.predict(mocap_face=service.face).status == 200


def test_model_names(service):  # noqa: F811
    for name in ("", "tiny:0", "tiny:-1", "tiny:", ":1", "tiny:1:2", "tiny:9223372036854775808", "a b",
                 "../tiny", "tiny@prod", "ü", "x" * 300):
        body = problem(service.predict(model=name, audio=service.wav), 422, "invalid")
        assert [e["pointer"] for e in body["errors"]] == ["/model"], name
    for name in ("tiny:999", "Tiny", "nothing"):
        problem(service.predict(model=name, audio=service.wav), 404, "not_found", name)
    answer = service.server.post_form("/v1/predictions", {"audio": ("u.wav", service.wav)})
    assert problem(answer, 422, "invalid", "model")["errors"][0]["pointer"] == "/model"
    one = service.predict(model="tiny:1", audio=service.wav).json()
    assert one["version"] == 1 and one["probabilities"] == service.predict(
        audio=service.wav).json()["probabilities"]


# ---- Names, queries, headers ----

@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "-x", "a b", "", "ü", "日本", "x" * 300,
                                  "a\\b", "a\nb", "a%2Fb"])
def test_names_of_datasets(service, name):  # noqa: F811
    body = problem(service.server.post_json("/v1/datasets", IMPORT | {"name": name}), 422, "invalid")
    assert [e["pointer"] for e in body["errors"]] == ["/name"]


@pytest.mark.parametrize("path", ["/v1/datasets/%2e%2e%2fetc", "/v1/datasets/a%2fb", "/v1/jobs/%C3%BC",
                                  "/v1/datasets/" + "x" * 300, "/v1/datasets/../../etc/passwd",
                                  "/v1/models/tiny/versions/abc", "/v1/models/tiny/versions/0"])
def test_paths_to_nothing(service, path):  # noqa: F811
    problem(service.server.get(path), 404, "not_found")


def test_queries(service):  # noqa: F811
    job_id = service.server.get("/v1/jobs?type=train").json()["data"][0]["id"]
    for path in ("/v1/jobs?limit=0", "/v1/jobs?limit=-1", "/v1/jobs?limit=99999999999999999999",
                 "/v1/jobs?limit=", "/v1/jobs?limit=x", "/v1/datasets?limit=0",
                 f"/v1/jobs/{job_id}?wait=abc", f"/v1/jobs/{job_id}?wait=-1",
                 f"/v1/jobs/{job_id}?wait=1.5", f"/v1/jobs/{job_id}?wait=99999",
                 f"/v1/jobs/{job_id}/events?after=abc", f"/v1/jobs/{job_id}/events?limit=0"):
        word = path.partition("?")[2].partition("=")[0]
        problem(service.server.get(path), 422, "invalid", word)
    for last in ("abc", "-1", "1.5"):
        answer = service.server.get(f"/v1/jobs/{job_id}/events", Accept="text/event-stream",
                                    Last_Event_ID=last)
        problem(answer, 422, "invalid", "Last-Event-ID")
    answer = service.server.get(f"/v1/jobs/{job_id}/events", Accept="text/event-stream",
                                Last_Event_ID="99999")
    assert answer.status == 204


def test_head_and_ranges(service):  # noqa: F811
    path = "/v1/models/tiny/versions/1/artifact"
    whole = service.server.get(path)
    head = service.server.request("HEAD", path)
    assert head.status == 200 and head.body == b""
    for name in ("ETag", "Content-Length", "Content-Type", "Content-Disposition"):
        assert head.headers[name] == whole.headers[name]
    n = len(whole.body)
    for given, first, last in (("bytes=0-0", 0, 0), ("bytes=-5", n - 5, n - 1),
                               (f"bytes={n - 1}-", n - 1, n - 1), (f"bytes=8-{2 * n}", 8, n - 1)):
        answer = service.server.get(path, Range=given)
        assert answer.status == 206 and answer.body == whole.body[first:last + 1], given
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{n}"
    answer = service.server.get(path, Range=f"bytes={n}-")
    problem(answer, 416, "range_not_satisfiable", str(n))
    assert answer.headers["Content-Range"] == f"bytes */{n}"
    for given in ("bytes=--5", "bytes= 0-1", "bytes=+0-1", "bytes=0-+1", "bytes=0--1", "bytes=-", "bytes=0-1x",
                  "bytes=5-4", "bytes", "items=0-1", "bytes=0-1,3-4"):  # no range: the whole file
        answer = service.server.get(path, Range=given)
        assert answer.status == 200 and answer.body == whole.body, given
    huge = "9" * 40
    assert service.server.get(path, Range=f"bytes=0-{huge}").status == 206
    assert service.server.get(path, Range=f"bytes={huge}-").status == 416
    tag = whole.headers["ETag"]
    for given, status in ((tag, 206), (f"W/{tag}", 200), (tag.strip('"'), 200), (f"x{tag[1:]}", 200)):
        assert service.server.get(path, Range="bytes=0-0", If_Range=given).status == status, given
    head = service.server.request("HEAD", path, headers={"Range": "bytes=0-0"})
    assert head.status == 200 and head.headers["Content-Length"] == str(n)


# ---- Datasets ----

def test_a_folder_exchanged_after_its_check(service, tmp_path):  # noqa: F811
    """While the import waits its folder becomes a link that leads out of the root: nothing out there is read."""
    server, root = service.server, service.tree.root.parent
    long = start_job(server, "/v1/jobs", LONG)
    wait_state(server, long, "running")
    folder = SmallTree(root / "exchanged", seed=2).root
    waiting = start_job(server, "/v1/datasets", IMPORT | {"name": "exchanged", "source": {"path": "exchanged"}})
    assert server.get(f"/v1/jobs/{waiting}").json()["state"] == "queued"
    folder.rename(tmp_path / "outside")
    folder.symlink_to(tmp_path / "outside")
    cancel(server, long)
    body = wait_end(server, waiting)
    folder.unlink()
    assert body["state"] == "failed" and body["state_reason"] == "dataset_invalid", body
    assert "exchanged: a link" in body["error"]["message"]
    assert server.get("/v1/datasets/exchanged").json().get("state") != "ready"
    for path, words in (("..", "leads out"), ("/etc", "leads out"), ("tiny/Session1/../../..", "leads out")):
        answer = server.post_json("/v1/datasets", IMPORT | {"name": "out", "source": {"path": path}})
        detail = problem(answer, 422, "invalid", words)["detail"]
        assert "cross-device" not in detail and str(root) not in detail


def test_bodies_of_the_wrong_kind(service):  # noqa: F811
    text = json.dumps(IMPORT | {"name": "other"})
    answer = service.server.request("POST", "/v1/datasets", text,
                                    {"Content-Type": "application/x-www-form-urlencoded"})
    problem(answer, 415, "unsupported_media_type", "application/json")
    assert "multipart/form-data" in answer.headers["Accept-Post"]
    problem(service.server.request("POST", "/v1/datasets?name=other", b""), 422, "invalid", "archive")
    problem(service.server.post_form("/v1/datasets", {"name": "other", "archive": ("a.zip", b"")}), 422,
            "invalid", "empty")


@pytest.mark.parametrize("content, word", [
    (lambda s: s.wav, "not an archive"),
    (lambda s: tar_of(), "Session1"),
    (lambda s: tar_of(("README", b"hello")), "Session1"),
    (lambda s: tar_of(("README", b"hello" * 9999))[:-30], "truncated"),
    (lambda s: gzip.compress(tar_of(("README", b"hello"))), "compressed more than once"),
], ids=["a sound", "an empty archive", "no tree", "cut", "packed twice"])
def test_archives_that_are_none(service, content, word):  # noqa: F811
    answer = service.server.post_form("/v1/datasets", {"name": "other",
                                                       "archive": ("a.tar.gz", content(service))})
    assert answer.status == 202, answer.body
    body = wait_end(service.server, answer.json()["id"])
    assert body["state"] == "failed" and body["state_reason"] == "dataset_invalid"
    assert word in body["error"]["message"], body["error"]
    assert str(service.data) not in json.dumps(body), "a path of this machine"


def test_a_dataset_in_use(service):  # noqa: F811
    server = service.server
    body = wait_end(server, start_job(server, "/v1/datasets", IMPORT | {"name": "second"}))
    assert body["state"] == "succeeded"
    job_id = start_job(server, "/v1/jobs", LONG | {"dataset": "second"})
    wait_state(server, job_id, "running")
    problem(server.request("DELETE", "/v1/datasets/second"), 409, "in_use", job_id)
    assert cancel(server, job_id)["state"] == "cancelled"
    assert server.request("DELETE", "/v1/datasets/second").status == 204
    problem(server.request("DELETE", "/v1/datasets/second"), 404, "not_found")
    problem(server.post_json("/v1/jobs", LONG | {"dataset": "second"}), 422, "invalid", "second")
    body = wait_end(server, start_job(server, "/v1/datasets", IMPORT | {"name": "second"}))
    assert body["state"] == "succeeded", "the name is free again"
    assert server.request("DELETE", "/v1/datasets/second").status == 204


# ---- Jobs ----

def test_cancel_at_any_time(service):  # noqa: F811
    """Right after it was asked for, whatever it is doing then; while it waits; while it runs."""
    server = service.server
    for _ in range(5):
        assert cancel(server, start_job(server, "/v1/jobs", LONG))["state"] == "cancelled"
    first, second = (start_job(server, "/v1/jobs", LONG) for _ in range(2))
    wait_state(server, first, "running")
    assert cancel(server, second)["state"] == "cancelled"
    assert cancel(server, first)["state"] == "cancelled"
    assert server.get("/v1/models/long").status == 404
    body = wait_end(server, start_job(server, "/v1/jobs", TRAIN | {"model": "after"}))
    assert body["state"] == "succeeded"
    service.files = service.stored()  # with the new model


def curve_of(server, job_id):
    epochs = server.get(f"/v1/jobs/{job_id}/metrics").json()["epochs"]
    return [(e["epoch"], e["loss"], e["val_loss"]) for e in epochs]


def test_two_jobs_at_once(tmp_path):
    running = Running(tmp_path, job_slots=2)  # noqa: F811
    server = running.server
    try:
        job = TRAIN | {"training": {"epochs": 60, "batch_size": 4}}
        alone = start_job(server, "/v1/jobs", job)
        assert wait_end(server, alone)["state"] == "succeeded"
        pair = [start_job(server, "/v1/jobs", job) for _ in range(2)]
        versions = [wait_end(server, job_id)["result"]["version"] for job_id in pair]
        assert sorted(versions) == [3, 4]
        assert curve_of(server, pair[0]) == curve_of(server, pair[1]) == curve_of(server, alone)
    finally:
        assert server.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_restarted_under_a_job(tmp_path, number):
    """The job goes on, to where a job comes that nobody disturbed. (After SIGKILL epochs of a few
    milliseconds may be missing from the curve: they were in the worker's pipe. test_resume.py looks at
    ordinary ones.)"""
    running = Running(tmp_path)  # noqa: F811
    server = running.server
    try:
        job = TRAIN | {"training": {"epochs": 150, "batch_size": 4}}
        undisturbed = start_job(server, "/v1/jobs", job)
        assert wait_end(server, undisturbed)["state"] == "succeeded"
        disturbed = start_job(server, "/v1/jobs", job)
        server.wait_for(lambda: len(curve_of(server, disturbed)) >= 3, "three epochs")
        server.stop(number)
        server.start()
        body = wait_end(server, disturbed)
        assert body["state"] == "succeeded" and body["result"]["version"] == 3, body
        assert body["restarts"] == 0  # epochs after the restart set it back
        curve, whole = curve_of(server, disturbed), curve_of(server, undisturbed)
        assert curve == whole or number == signal.SIGKILL
        assert set(curve) <= set(whole) and curve[-1] == whole[-1]
        told = server.get(f"/v1/jobs/{disturbed}/events?limit=1000").json()["data"]
        assert [e["seq"] for e in told] == list(range(1, len(told) + 1))
        running.files = running.stored()  # with two more models
        running.descriptors = max(running.descriptors, server.metric("process_open_fds"))
        running.check()
    finally:
        assert server.stop() == 0


def test_a_worker_that_outlives_its_server(tmp_path):
    """While somebody holds its job's folder no second worker starts in it."""
    running = Running(tmp_path)  # noqa: F811
    server = running.server
    try:
        job_id = start_job(server, "/v1/jobs", LONG | {"training": {"epochs": 300, "batch_size": 4}})
        wait_state(server, job_id, "running")
        server.stop(signal.SIGKILL)
        with open(running.data / "jobs" / job_id / "lock", "r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # had when the worker is gone
            server.start()
            time.sleep(0.3)
            assert "train" not in children(server.process.pid)
            assert server.get(f"/v1/jobs/{job_id}").json()["state"] in ("queued", "interrupted")
        assert wait_end(server, job_id)["state"] == "succeeded"
    finally:
        assert server.stop() == 0
