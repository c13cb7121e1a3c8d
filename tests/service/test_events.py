"""The events of a job: pages, lines, SSE; replay and live tail; a hundred readers that are cut
again and again, also by a restart of the server, and still see every event once and in order."""
import json
import random
import socket
import struct
import threading
import time

import pytest

from test_jobs import events, fake, train_id, wait_end, wait_state  # noqa: F401

pytestmark = pytest.mark.sanitized

READERS, CUTS = 100, 10


def read_head(link):
    """The head of an answer and what came behind it."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = link.recv(4096)
        if not piece:
            raise ConnectionError("no answer")
        data += piece
    head, rest = data.split(b"\r\n\r\n", 1)
    return head.decode(), rest


class Chunks:
    """Takes Transfer-Encoding apart as bytes come in."""

    def __init__(self):
        self.raw, self.done = b"", False

    def feed(self, data):
        self.raw += data
        body = b""
        while b"\r\n" in self.raw and not self.done:
            line, rest = self.raw.split(b"\r\n", 1)
            size = int(line, 16)
            if len(rest) < size + 2:
                break
            body += rest[:size]
            self.raw = rest[size + 2 :]
            self.done = size == 0
        return body


def parse_sse(text):
    """Complete events of a piece of stream, and the rest."""
    *blocks, rest = text.split(b"\n\n")
    found = []
    for block in blocks:
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if not line.startswith(b":"))
        if not fields:
            continue
        data = json.loads(fields[b"data"])
        assert int(fields[b"id"]) == data["seq"]
        found.append((data["seq"], fields[b"event"].decode(), data))
    return found, rest


class Reader(threading.Thread):
    """Reads a job's events over SSE, cuts its connection after a random number of bytes, and comes
    back with the number of the last complete event."""

    def __init__(self, server, job_id, seed, cuts=CUTS, bytes_between=6000):
        super().__init__(daemon=True)
        self.server, self.job_id = server, job_id
        self.cuts, self.bytes_between = cuts, bytes_between
        self.random = random.Random(seed)
        self.seen, self.n_cuts, self.failure, self.statuses = [], 0, None, []
        self.ended = False

    def run(self):
        try:
            while not self.ended:
                try:
                    self.read_once()
                except (ConnectionError, socket.timeout):
                    time.sleep(0.05)
        except Exception as failure:  # noqa: BLE001: shown by the test
            self.failure = failure

    def read_once(self):
        last = self.seen[-1][0] if self.seen else 0
        budget = self.random.randrange(1, self.bytes_between) if self.n_cuts < self.cuts else None
        with self.server.connect(10) as link:
            link.sendall(f"GET /v1/jobs/{self.job_id}/events HTTP/1.1\r\nHost: localhost\r\n"
                         f"Accept: text/event-stream\r\nLast-Event-ID: {last}\r\n\r\n".encode())
            head, rest = read_head(link)
            status = int(head.split()[1])
            self.statuses.append(status)
            if status == 204:
                self.ended = True
                return
            if status == 503:  # the server is stopping
                time.sleep(0.05)
                return
            assert status == 200, head
            assert "text/event-stream" in head and "no-store" in head
            self.follow(link, rest, budget)

    def follow(self, link, data, budget):
        chunks, text = Chunks(), b""
        while True:
            if budget is not None:
                data, budget = data[:budget], budget - len(data)
            text += chunks.feed(data)
            found, text = parse_sse(text)
            self.seen += found
            if budget is not None and budget <= 0:
                self.n_cuts += 1
                return
            if chunks.done:
                return
            data = link.recv(4096)
            if not data:
                return


def test_hundred_readers(fake):  # noqa: F811
    server = fake(http_threads=2)
    job_id = train_id(server, 250, delay_ms=15, pad=300)
    readers = [Reader(server, job_id, seed) for seed in range(READERS)]
    for reader in readers:
        reader.start()
    server.wait_for(lambda: len(events(server, job_id)) > 120, "events")
    server.stop()
    server.start()
    body = wait_end(server, job_id, 90)
    assert body["state"] == "succeeded"
    truth = [(e["seq"], e["event"]) for e in events(server, job_id)]
    assert [seq for seq, _ in truth] == list(range(1, len(truth) + 1)) and len(truth) > 500
    for reader in readers:
        reader.join(60)
        assert not reader.is_alive() and reader.failure is None, reader.failure
        assert [(seq, kind) for seq, kind, _ in reader.seen] == truth
        assert reader.n_cuts == CUTS
        assert reader.seen[-1][1] == "end" and reader.statuses[-1] == 204
    assert server.get("/readyz").status == 200


def test_ten_thousand_reconnects(fake, steady_fds):  # noqa: F811
    """Readers that are cut every few events lose none, and leave no stream and no descriptor."""
    server = fake(http_threads=2)
    job_id = train_id(server, 2000, delay_ms=2)
    wait_state(server, job_id, "running")
    with steady_fds(server):
        readers = [Reader(server, job_id, seed, 200, 3000) for seed in range(50)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(240)
            assert not reader.is_alive() and reader.failure is None, reader.failure
    truth = [(e["seq"], e["event"]) for e in events(server, job_id)]
    assert all([(seq, kind) for seq, kind, _ in reader.seen] == truth for reader in readers)
    assert sum(reader.n_cuts for reader in readers) == 10000
    server.wait_for(lambda: server.metric("affectd_event_readers") == 0, "the end of every stream")


def test_resets_before_the_answer(fake, steady_fds):  # noqa: F811
    """A client that resets its connection before its stream is sent leaves no stream."""
    server = fake()
    job_id = train_id(server, 10000, delay_ms=10)
    wait_state(server, job_id, "running")
    request = (f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: localhost\r\n"
               "Accept: text/event-stream\r\n\r\n").encode()
    with steady_fds(server):
        for i in range(1500):
            with server.connect() as link:
                link.sendall(request)
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                time.sleep(i % 8 * 1e-4)  # wherever the request is by then
    server.wait_for(lambda: server.metric("affectd_event_readers") == 0, "the end of every stream")
    server.request("POST", f"/v1/jobs/{job_id}/cancel")
    assert wait_end(server, job_id)["state"] == "cancelled"


def test_forms_agree(fake):  # noqa: F811
    server = fake()
    job_id = train_id(server, 20)
    wait_end(server, job_id)
    page = events(server, job_id)
    path = f"/v1/jobs/{job_id}/events"
    lines = server.get(path, Accept="application/x-ndjson")
    assert lines.headers["Content-Type"] == "application/x-ndjson"
    assert [json.loads(line) for line in lines.body.splitlines()] == page
    sse = server.get(path, Accept="text/event-stream")
    found, rest = parse_sse(sse.body)
    assert rest == b""
    assert [{"seq": s, "event": k, **d} for s, k, d in found] == page
    assert sse.headers["X-Accel-Buffering"] == "no"

    last = page[-1]["seq"]
    some = server.get(path + f"?after={last - 2}", Accept="application/x-ndjson")
    assert [json.loads(line)["seq"] for line in some.body.splitlines()] == [last - 1, last]
    assert server.get(path, Accept="text/event-stream", Last_Event_ID=str(last)).status == 204
    empty = server.get(path + f"?after={last}", Accept="application/x-ndjson")
    assert empty.status == 200 and empty.body == b""
    small = server.get(path + "?limit=3").json()
    assert [e["seq"] for e in small["data"]] == [1, 2, 3] and small["more"] and small["terminal"]
    assert server.get(path + "?after=x").status == 422
    assert server.get(path, Last_Event_ID="x").status == 422
    assert server.get("/v1/jobs/job_none/events", Accept="text/event-stream").status == 404


def test_cursor_ahead(fake):  # noqa: F811
    """A cursor that no event of the job has is refused while it runs; 204 once it has ended."""
    server = fake()
    job_id = train_id(server, 10000, delay_ms=10)
    wait_state(server, job_id, "running")
    path = f"/v1/jobs/{job_id}/events"
    for accept in ("text/event-stream", "application/x-ndjson", "application/json"):
        answer = server.get(path, Accept=accept, Last_Event_ID="1000000")
        assert answer.status == 400 and answer.json()["code"] == "malformed", accept
        assert server.get(path + "?after=1000000", Accept=accept).status == 422
    for wrong in ("-1", "+1", "1x", "9" * 30, ""):
        assert server.get(path, Accept="text/event-stream", Last_Event_ID=wrong).status == 422, wrong
    for query in ("limit=1001", "limit=0", "limit=%2B5", "limit=%205", "limit=", "after=-1", "after=1x"):
        assert server.get(f"{path}?{query}").status == 422, query
    for query in ("limit=501", "limit=%2B5"):
        assert server.get(f"/v1/jobs?{query}").status == 422, query
    server.request("POST", f"/v1/jobs/{job_id}/cancel")
    wait_end(server, job_id)
    assert server.get(path, Accept="text/event-stream", Last_Event_ID="1000000").status == 204
    assert server.get(path, Accept="application/x-ndjson", Last_Event_ID="1000000").body == b""


def test_live_tail_and_heartbeat(fake):  # noqa: F811
    """A parked reader is woken by what is appended, and hears a comment when nothing is."""
    server = fake(heartbeat_seconds=0.2)
    first = train_id(server, 10000, delay_ms=10)
    waiting = train_id(server, 1)
    wait_state(server, first, "running")
    with server.connect(10) as link:
        link.sendall(f"GET /v1/jobs/{waiting}/events HTTP/1.1\r\nHost: localhost\r\n"
                     "Accept: text/event-stream\r\n\r\n".encode())
        _, data = read_head(link)
        chunks, text = Chunks(), b""
        text += chunks.feed(data)
        while b"\n: " not in text and not text.startswith(b": "):
            text += chunks.feed(link.recv(4096))
        server.request("POST", f"/v1/jobs/{first}/cancel")
        while not chunks.done:
            text += chunks.feed(link.recv(4096))
    found, _ = parse_sse(text)
    assert [seq for seq, _, _ in found] == list(range(1, len(found) + 1))
    assert found[-1][1] == "end"


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
def test_readers_that_leave(fake, steady_fds, accept):  # noqa: F811
    """Fifty readers leave without a word: their descriptors come back."""
    server = fake(heartbeat_seconds=0.2)
    job_id = train_id(server, 10000, delay_ms=10)
    wait_state(server, job_id, "running")
    with steady_fds(server):
        links = []
        for _ in range(50):
            link = server.connect()
            link.sendall(f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: localhost\r\n"
                         f"Accept: {accept}\r\n\r\n".encode())
            links.append(link)
        for link in links:
            link.recv(100)
            link.close()
    server.request("POST", f"/v1/jobs/{job_id}/cancel")
    assert wait_end(server, job_id)["state"] == "cancelled"


@pytest.fixture
def steady_fds():
    """with steady_fds(server): as many descriptors afterwards as before."""

    class Steady:
        def __init__(self, server):
            self.server = server

        def __enter__(self):
            self.server.get("/livez")
            self.before = self.server.metric("process_open_fds")

        def __exit__(self, *_):
            self.server.wait_for(
                lambda: self.server.metric("process_open_fds") <= self.before + 1, "descriptors")

    return Steady
