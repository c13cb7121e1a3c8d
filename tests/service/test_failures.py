"""Everything that may go wrong, on the real programs: the answer is a clear problem, and after each
case the server is as it was: ready, a reference prediction equal bit by bit, as many descriptors,
no more memory than MEMORY_ALLOWANCE above the start, nothing left in the data folder.

One server for all cases (module fixture `running`, checked after each by `service`), with a small
network trained for one epoch through the API on a tree of noise. A predictor is held still with
SIGSTOP where a case needs one that is busy: nothing depends on how fast this machine computes.
"""
import gzip
import io
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
import wave
import zlib

import pytest

np = pytest.importorskip("numpy")

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "corpus"))
from conftest import Server  # noqa: E402
from small_tree import SmallTree  # noqa: E402
from test_http import MALFORMED, n_answers, problem_of, status_of  # noqa: E402

pytestmark = pytest.mark.sanitized

# Bytes a process may keep above its start: heaps are not given back; freed memory is kept apart by AddressSanitizer.
MEMORY_ALLOWANCE = 4 << 30 if "AFFECT_SANITIZER_REPORTS" in os.environ else 64 << 20
ARCHITECTURE = {
    "name": "tiny",
    "inputs": {"audio": {"feature": "mel", "shape": ["$frames", "$mels", 1]},
               "motion": {"feature": "motion", "shape": ["$parts", "$columns"]}},
    "branches": {
        "audio": {"input": "audio", "layers": [
            {"type": "time_distributed", "layer": {"type": "conv1d", "name": "conv_1", "filters": 4,
                                                   "kernel_size": 3, "activation": "relu"}},
            {"type": "time_distributed", "layer": {"type": "flatten", "name": "flatten"}},
            {"type": "bidirectional", "layer": {"type": "lstm", "name": "bilstm_1", "units": 8}}]},
        "motion": {"input": "motion", "layers": [
            {"type": "conv1d", "name": "conv_1", "filters": 8, "kernel_size": 3, "activation": "relu"},
            {"type": "batch_norm", "name": "bn_1"},
            {"type": "flatten", "name": "flatten"},
            {"type": "dense", "name": "dense", "units": 8, "activation": "relu"}]}},
    "fusion": {"branches": ["audio", "motion"], "layers": [
        {"type": "concatenate", "name": "concatenate"},
        {"type": "dense", "name": "output", "units": "$classes", "activation": "softmax"}]}}
TRAIN = {"type": "train", "dataset": "tiny", "architecture": ARCHITECTURE, "model": "tiny",
         "split": {"kind": "random", "validation": 0.5, "seed": 1},
         "training": {"epochs": 1, "batch_size": 4}}
IMPORT = {"name": "tiny", "source": {"path": "tiny"},
          "features": {"preset": "mel-16k", "mel": {"clip_seconds": 1}}}
LABELS = "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
SOUND = "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"


# ---- The server and what it must be after each case ----

def problem(answer, status, code, *words):
    """The answer is problem+json of that status and code whose detail has the words."""
    assert answer.status == status, (answer.status, answer.body[:600])
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status and body["code"] == code, body
    assert body["type"] and body["title"] and body["request_id"] and body["instance"]
    for word in words:
        assert word in body["detail"], body
    return body


def wait_end(server, job_id, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        body = server.get(f"/v1/jobs/{job_id}?wait=5").json()
        if body["terminal"]:
            return body
    raise AssertionError(body)


def start_job(server, path, document):
    answer = server.post_json(path, document)
    assert answer.status == 202, answer.body
    return answer.json()["id"]


def prepare(server):
    """Imports the tree and trains version 1 of the model "tiny"."""
    for path, document in (("/v1/datasets", IMPORT), ("/v1/jobs", TRAIN)):
        body = wait_end(server, start_job(server, path, document))
        assert body["state"] == "succeeded", body["error"]


def children(pid):
    """Processes of the server by what they do: {"predict": [pid], "train": [...]}."""
    found = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            arguments = (path.parent / "cmdline").read_bytes().split(b"\0")
        except (OSError, IndexError):
            continue
        if parent == pid and len(arguments) > 1:
            found.setdefault(arguments[1].decode(), []).append(int(path.parent.name))
    return found


def resident_bytes(pid):
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) << 10


class Running:
    """The server with a model, and what it was when that was all it had done."""

    def __init__(self, folder, **settings):
        self.tree = SmallTree(folder / "corpora" / "tiny")
        (folder / "server").mkdir()
        self.server = Server(folder / "server", **{
            "import_root": folder / "corpora", "header_timeout_seconds": 0.5, "body_timeout_seconds": 1,
            "min_body_bytes_per_second": 1000000, "prediction_queue": 2, "job_queue": 2, **settings})
        self.data = pathlib.Path(self.server.settings.get("data", folder / "server" / "data"))
        prepare(self.server)
        dialog = "Ses01F_impro01"
        self.wav = self.tree.wav(dialog, "F000").read_bytes()
        self.face, self.head, self.hand = (self.tree.motion(dialog, name).read_bytes()
                                           for name in ("rotated", "head", "hand"))
        self.reference = self.predict_reference()
        self.predict_reference()
        self.files = self.stored()
        self.descriptors = self.server.metric("process_open_fds")
        self.memory = self.resident()

    def predict(self, model="tiny", **parts):
        fields = {name: (f"{name}.bin", value) if isinstance(value, bytes) else value
                  for name, value in parts.items()}
        return self.server.post_form("/v1/predictions", {"model": model, **fields})

    def predict_reference(self):
        answer = self.predict(model="tiny:1", audio=self.wav, mocap_face=self.face,
                              mocap_head=self.head, mocap_hand=self.hand, start="0.5", end="1.5")
        assert answer.status == 200, answer.body
        return answer.json()["probabilities"]

    @property
    def predictor(self):
        return children(self.server.process.pid)["predict"][0]

    def resident(self):
        return max([resident_bytes(self.server.process.pid)] +
                   [resident_bytes(p) for p in children(self.server.process.pid).get("predict", [])])

    def stored(self):
        """Files of the data folder, but for the database and what a job keeps of itself."""
        kept = re.compile(r"[^/]*\.(db|sqlite)(-\w+)?|jobs/[^/]*(/(spec\.json|log|lock|epochs(\.old)?\.jsonl|(best|last)\.safetensors))?|predictor.*|log.*")
        return {name for path in self.data.rglob("*")
                if not kept.fullmatch(name := str(path.relative_to(self.data)))}

    def check(self):
        server = self.server
        server.wait_for(lambda: server.get("/readyz").status == 200, "readiness")
        assert self.predict_reference() == self.reference, "bits of the reference prediction"
        server.wait_for(lambda: server.metric("process_open_fds") <= self.descriptors,
                        f"return of descriptors to {self.descriptors}", 10)
        try:
            server.wait_for(lambda: self.stored() <= self.files, "cleaning", 5)
        except AssertionError as error:
            raise AssertionError(f"{sorted(self.stored() - self.files)} stay") from error
        grown = self.resident() - self.memory
        assert grown <= MEMORY_ALLOWANCE, f"{grown >> 20} MB more than before"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    running = Running(tmp_path_factory.mktemp("failures"))
    yield running
    assert running.server.stop() == 0


@pytest.fixture
def service(running):
    yield running
    running.check()


# ---- Predictions: recordings that cannot be used ----

def lines_of(motion):
    return motion.decode().splitlines()


def test_truncated_wav(service):
    problem(service.predict(audio=service.wav[:20000]), 422, "unreadable", "audio", "truncated")


def test_text_named_wav(service):
    problem(service.predict(audio=b"I am a wav, honestly.\n" * 50), 422, "unreadable", "audio",
            "sound file")


def test_no_samples(service):
    memory = io.BytesIO()
    with wave.open(memory, "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
    problem(service.predict(audio=memory.getvalue()), 422, "unreadable", "audio", "no samples")


def test_every_stream_empty(service):
    answer = service.predict(audio=b"", mocap_face=b"", mocap_head=b"", mocap_hand=b"")
    problem(answer, 422, "unreadable", "empty")
    problem(service.predict(), 422, "invalid", "no stream")


def test_wrong_columns(service):
    problem(service.predict(mocap_face=service.hand), 422, "unreadable", "face", "18 values", "165")


def test_a_line_of_10_mb(service):
    head = "\n".join(lines_of(service.face)[:2])
    body = f"{head}\n1 0.0 {'1.25 ' * 2000000}\n".encode()
    problem(service.predict(mocap_face=body), 422, "unreadable", "face", "line 3: line longer")

    lines = lines_of(service.face)  # among good ones it is counted and skipped
    lines.insert(50, "1 0.0 " + "1.25 " * 2000000)
    answer = service.predict(mocap_face="\n".join(lines).encode())
    assert answer.status == 200 and answer.json()["streams"]["face"]["rejected"] == 1
    assert "face: 1 malformed rows were skipped" in answer.json()["warnings"]


# ---- Predictions that are answered, with a warning ----

def test_one_stream_all_nan(service):
    rows = [f"{i + 1} {i / 119.88:.5f} " + "NaN " * 165 for i in range(240)]
    body = "\n".join(lines_of(service.face)[:2] + rows).encode()
    answer = service.predict(audio=service.wav, mocap_face=body, mocap_head=service.head)
    assert answer.status == 200, answer.body
    assert answer.json()["streams"]["face"]["missing"] == 1.0
    assert answer.json()["streams"]["head"]["missing"] < 0.1
    assert any(w.startswith("face: no finite value") for w in answer.json()["warnings"])


def test_an_hour_of_sound(service):
    memory = io.BytesIO()
    with wave.open(memory, "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(service.wav[44:] * 3600)
    answer = service.predict(audio=memory.getvalue())
    assert answer.status == 200, answer.body
    audio = answer.json()["streams"]["audio"]
    assert audio["truncated"] is True and audio["seconds"] == pytest.approx(3600)
    assert any(w.startswith("audio: truncated") for w in answer.json()["warnings"])
    assert answer.json()["probabilities"] == service.predict(audio=service.wav).json()["probabilities"]


# ---- Archives ----

def tar_of(*members):
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as tar:
        for member in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member[0])
            if info is not member:
                info.size = len(member[1])
            tar.addfile(info, None if info is member else io.BytesIO(member[1]))
    return memory.getvalue()


def link(name, target, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def million_entries():
    """A tar.gz of a million empty files with names of their own."""
    base = np.frombuffer(tarfile.TarInfo("d0000000").tobuf(tarfile.USTAR_FORMAT), np.uint8)
    pack = zlib.compressobj(1, zlib.DEFLATED, 31)
    pieces, block = [], 50000
    for first in range(0, 1000000, block):
        headers = np.tile(base, (block, 1))
        number = np.arange(first, first + block)
        for place in range(7):
            headers[:, 7 - place] = 48 + number // 10**place % 10
        headers[:, 148:156] = 32
        total = headers.sum(axis=1)
        for place in range(6):
            headers[:, 153 - place] = 48 + (total >> 3 * place & 7)
        headers[:, 154] = 0
        pieces.append(pack.compress(headers.tobytes()))
    return b"".join(pieces + [pack.compress(bytes(1024)), pack.flush()])


def bomb():
    """A tar.gz whose one wav unpacks to 2 GB: gzip members of zeros, one after the other."""
    info = tarfile.TarInfo(SOUND)
    info.size = 2 << 30
    info_text = info.tobuf()
    zeros = gzip.compress(bytes(16 << 20), 9)
    return gzip.compress(info_text) + zeros * 128


HOSTILE = {
    "dots": (lambda: tar_of(("../" + LABELS, b"x")), "climbs"),
    "links": (lambda: tar_of(link("Session1", "/etc", tarfile.SYMTYPE), (LABELS, b"x")), "link"),
    "a million entries": (million_entries, "entries"),
    "a bomb": (bomb, "bomb"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives(service, name):
    make, word = HOSTILE[name]
    answer = service.server.request("POST", "/v1/datasets?name=hostile&layout=iemocap", make(),
                                    {"Content-Type": "application/gzip"})
    assert answer.status == 202, answer.body
    body = wait_end(service.server, answer.json()["id"])
    assert body["state"] == "failed" and body["state_reason"] == "dataset_invalid", body
    assert word in body["error"]["message"], body["error"]
    assert str(service.data) not in json.dumps(body), "a path of this machine"
    dataset = service.server.get("/v1/datasets/hostile")
    assert dataset.status == 404 or dataset.json()["state"] == "failed"


# ---- Requests that are wrong ----

@pytest.mark.parametrize("change, pointer", [
    ({"learning_rat": 0.1}, "/learning_rat"),
    ({"training": {"epochs": 1, "learning_rat": 0.1}}, "/training/learning_rat"),
], ids=["above", "inside"])
def test_unknown_field(service, change, pointer):
    body = problem(service.server.post_json("/v1/jobs", TRAIN | change), 422, "invalid", "learning_rat")
    assert [e["pointer"] for e in body["errors"]] == [pointer]


@pytest.mark.parametrize("change, pointer", [
    ({"training": {"epochs": "many"}}, "/training/epochs"),
    ({"split": 3}, "/split"),
    ({"dataset": ["tiny"]}, "/dataset"),
])
def test_wrong_type(service, change, pointer):
    body = problem(service.server.post_json("/v1/jobs", TRAIN | change), 422, "invalid")
    assert [e["pointer"] for e in body["errors"]] == [pointer]


def test_unknown_dataset(service):
    body = problem(service.server.post_json("/v1/jobs", TRAIN | {"dataset": "nowhere"}), 422, "invalid",
                   "nowhere")
    assert [e["pointer"] for e in body["errors"]] == ["/dataset"]
    problem(service.server.get("/v1/datasets/nowhere"), 404, "not_found", "nowhere")


def test_name_taken(service):
    problem(service.server.post_json("/v1/datasets", IMPORT), 409, "name_taken", "tiny")
    archive = tar_of(("x", b"x"))
    answer = service.server.request("POST", "/v1/datasets?name=tiny", archive,
                                    {"Content-Type": "application/gzip"})
    problem(answer, 409, "name_taken", "tiny")


def test_cancel_of_a_finished_job(service):
    done = service.server.get("/v1/jobs?type=train&state=succeeded").json()["data"][0]["id"]
    body = problem(service.server.request("POST", f"/v1/jobs/{done}/cancel"), 409, "conflict",
                   "cannot be cancelled")
    assert body["allowed"] == []


def test_2_gb_announced_to_predictions(service):
    head = (b"POST /v1/predictions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2147483648\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n")
    for more in (b"Expect: 100-continue\r\n\r\n", b"\r\n--b\r\nContent-Disp"):
        received = service.server.raw(head + more)
        assert status_of(received) == 413 and b"100 Continue" not in received
        body = problem_of(received)
        assert body["code"] == "too_large" and body["limit"] == 256 << 20


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests(service, name):
    received = service.server.raw(MALFORMED[name])
    assert status_of(received) == 400, received
    assert n_answers(received) == 1
    if b"problem+json" in received:  # a newer libmicrohttpd refuses some by itself
        assert problem_of(received)["code"] == "malformed"


# ---- Full queues ----

def test_full_job_queue(service):
    server = service.server
    long = TRAIN | {"model": "long", "training": {"epochs": 100000, "batch_size": 4}}
    ids = [start_job(server, "/v1/jobs", long)]
    server.wait_for(lambda: server.get(f"/v1/jobs/{ids[0]}").json()["state"] == "running", "running")
    ids += [start_job(server, "/v1/jobs", long) for _ in range(2)]
    answer = server.post_json("/v1/jobs", long)
    problem(answer, 503, "busy")
    assert int(answer.headers["Retry-After"]) > 0
    for job_id in reversed(ids):
        assert server.request("POST", f"/v1/jobs/{job_id}/cancel").status == 202
    assert [wait_end(server, i)["state"] for i in ids] == ["cancelled"] * 3
    assert server.get("/v1/models/long").status == 404


class Held:
    """The predictor stopped in the middle of a prediction that is asked for in a thread."""

    def __init__(self, service, n=1):
        self.service, self.pid, self.answers = service, service.predictor, []
        os.kill(self.pid, signal.SIGSTOP)
        self.threads = [threading.Thread(target=self._ask) for _ in range(n)]
        for number, thread in enumerate(self.threads):
            thread.start()
            service.server.wait_for(
                lambda: service.server.metric("affectd_predictors_busy") == 1 and
                service.server.metric("affectd_predictions_queued") == number, "a busy predictor")

    def _ask(self):
        self.answers.append(self.service.predict(audio=self.service.wav))

    def end(self, number=signal.SIGCONT):
        os.kill(self.pid, number)
        for thread in self.threads:
            thread.join(60)
        return self.answers


def test_full_prediction_queue(service):
    held = Held(service, 3)
    answer = service.predict(audio=service.wav)
    problem(answer, 503, "busy", "2 predictions wait")
    assert int(answer.headers["Retry-After"]) > 0
    answers = held.end()
    assert [a.status for a in answers] == [200] * 3
    assert len({json.dumps(a.json()["probabilities"]) for a in answers}) == 1


# ---- Processes and clients that go away ----

def test_a_predictor_killed_in_the_middle(service):
    held = Held(service)
    (answer,) = held.end(signal.SIGKILL)
    problem(answer, 502, "predictor_lost", "predictor")
    service.server.wait_for(lambda: service.server.get("/readyz").status == 200, "readiness")
    assert service.predictor != held.pid
    assert service.predict(audio=service.wav).status == 200


def form_of(service, *streams):
    body = b"--edge\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ntiny\r\n"
    for name, data in streams:
        body += (f'--edge\r\nContent-Disposition: form-data; name="{name}"; filename="f"\r\n\r\n'.encode() +
                 data + b"\r\n")
    body += b"--edge--\r\n"
    return (b"POST /v1/predictions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
            b"Content-Type: multipart/form-data; boundary=edge\r\n\r\n" % len(body) + body)


def test_a_client_that_leaves_while_it_sends(service):
    data = form_of(service, ("mocap_face", service.face), ("audio", service.wav * 100))
    assert len(data) > 4 << 20  # spooled to a file
    for part in (0.01, 0.3, 0.7, 0.999):
        with service.server.connect() as link:
            link.sendall(data[:int(len(data) * part)])
            time.sleep(0.1)


def test_a_client_that_leaves_while_it_waits(service):
    held = Held(service)
    with service.server.connect() as link:
        link.sendall(form_of(service, ("audio", service.wav)))
        service.server.wait_for(
            lambda: service.server.metric("affectd_predictions_queued") == 1, "a queue")
    assert [a.status for a in held.end()] == [200]


def test_a_client_that_leaves_its_own_prediction(service):
    pid = service.predictor
    os.kill(pid, signal.SIGSTOP)
    with service.server.connect() as link:
        link.sendall(form_of(service, ("audio", service.wav)))
        service.server.wait_for(lambda: service.server.metric("affectd_predictors_busy") == 1, "work")
    time.sleep(0.5)  # the server sees that it left
    os.kill(pid, signal.SIGCONT)


def test_a_client_that_leaves_a_stream_of_events(service):
    server = service.server
    job_id = start_job(server, "/v1/jobs", TRAIN | {"model": "long", "training": {"epochs": 100000,
                                                                              "batch_size": 4}})
    for kind in (b"text/event-stream", b"application/x-ndjson"):
        for n_bytes in (1, 500, 5000):
            with server.connect() as link:
                link.sendall(b"GET /v1/jobs/%s/events HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\n\r\n"
                             % (job_id.encode(), kind))
                received = 0
                while received < n_bytes:
                    received += len(link.recv(n_bytes))
    assert server.request("POST", f"/v1/jobs/{job_id}/cancel").status == 202
    assert wait_end(server, job_id)["state"] == "cancelled"


# ---- Slow clients ----

def drip(link, data, seconds=20):
    """Sends byte by byte until the server cuts, and returns what came; fails after `seconds`."""
    link.settimeout(0.05)
    end, received = time.monotonic() + seconds, b""
    for byte in data:
        assert time.monotonic() < end, "a slow client was waited for"
        try:
            link.sendall(bytes([byte]))
            piece = link.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            break
        received += piece
        if not piece:
            break
    else:
        raise AssertionError("all was taken")
    return received


def check_late(received, word):
    assert status_of(received) == 408, received
    body = problem_of(received)
    assert body["code"] == "request_timeout" and word in body["detail"] and body["status"] == 408


def test_slow_headers(service):
    with service.server.connect() as link:
        received = drip(link, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"a" * 400)
    check_late(received, "headers")


def test_slow_body(service):
    head = (b"POST /v1/predictions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n"
            b"Content-Type: multipart/form-data; boundary=edge\r\n\r\n")
    with service.server.connect() as link:
        link.sendall(head)
        received = drip(link, b'--edge\r\nContent-Disposition: form-data; name="audio"\r\n\r\n' +
                        b"a" * 400)
    check_late(received, "body")


# ---- A full disk ----

@pytest.fixture
def small_disk(tmp_path):
    data = tmp_path / "small"
    data.mkdir()
    # The end of a training of a model of 5 MB holds its checkpoint (15 MB), the model file and the one that replaces it.
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(data)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root")
    yield data
    subprocess.run(["umount", "-l", str(data)], check=True)


def fill(path, leave):
    """A file that leaves so many bytes of its disk free."""
    with open(path, "wb", buffering=0) as file:
        disk = os.statvfs(path)
        file.write(bytes(max(0, disk.f_bavail * disk.f_frsize - leave)))


def disk_free(path):
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize


def test_disk_full(small_disk, tmp_path):
    running = Running(tmp_path, data=small_disk, disk_reserve_bytes=0)
    server, ballast = running.server, small_disk / "ballast"
    try:
        fill(ballast, leave=0)
        big = running.wav * 100  # more than is kept in memory
        problem(running.predict(audio=big), 507, "no_space")
        archive = gzip.compress(os.urandom(2 << 20), 1)
        answer = server.request("POST", "/v1/datasets?name=more", archive,
                                {"Content-Type": "application/gzip"})
        problem(answer, 507, "no_space")
        assert server.get("/readyz").status == 200
        assert running.predict(audio=running.wav).status == 200, "a small one needs no disk"
        problem(server.post_json("/v1/jobs", TRAIN), 507, "no_space")

        fill(ballast, leave=1 << 20)  # enough for rows of the database, not for a model of 5 MB
        wide = json.loads(json.dumps(ARCHITECTURE))
        wide["branches"]["motion"]["layers"][3]["units"] = 800
        held, other = (start_job(server, "/v1/jobs", TRAIN | {"architecture": wide}) for _ in range(2))
        for job in (held, other):
            server.wait_for(lambda: server.get(f"/v1/jobs/{job}").json()["state"] == "paused", "a pause")  # noqa: B023
            body = server.get(f"/v1/jobs/{job}").json()
            assert body["state_reason"] == "no_space" and "space" in body["error"]["message"], body
        assert server.get("/v1/models/tiny").json()["latest"] == 1

        with open(ballast, "ab", buffering=0) as file:  # to the last byte: nothing fits any more
            while disk_free(small_disk):
                try:
                    file.write(bytes(4096))
                except OSError:
                    break
        problem(server.post_json("/v1/jobs", TRAIN), 507, "no_space")
        assert server.request("POST", f"/v1/jobs/{other}/cancel").status == 202
        assert server.get(f"/v1/jobs/{other}").json()["state"] == "cancelled"
        assert server.request("DELETE", f"/v1/jobs/{other}").status == 204
        assert server.get(f"/v1/jobs/{other}").status == 404

        ballast.unlink()
        running.check()
        assert server.request("POST", f"/v1/jobs/{held}/resume").status == 202
        body = wait_end(server, held)
        assert body["state"] == "succeeded" and body["error"] is None and body["result"]["version"] == 2, body
        body = wait_end(server, start_job(server, "/v1/jobs", TRAIN))
        assert body["state"] == "succeeded" and body["result"]["version"] == 3, body
    finally:
        assert server.stop() == 0


# ---- Files of the data folder that were damaged ----

@pytest.mark.parametrize("text", ["{}", '{"report": 1, "utterances": []}', '{"report": {}, "utterances": 3}', "{", ""])
@pytest.mark.parametrize("resource", ["report", "samples"])
def test_damaged_manifest(service, resource, text):
    """Not the client's fault, and said without a path; a manifest made whole again is read again."""
    dataset = service.server.get("/v1/datasets/tiny").json()["id"]
    path = service.data / "datasets" / dataset / "dataset.json"
    whole = path.read_bytes()
    try:
        path.write_text(text)
        body = problem(service.server.get(f"/v1/datasets/tiny/{resource}"), 500, "internal", "manifest", "tiny")
        assert str(service.data) not in json.dumps(body)
    finally:
        path.write_bytes(whole)
    assert service.server.get(f"/v1/datasets/tiny/{resource}").status == 200
