#!/usr/bin/env python3
"""Hostile requests to a running server: shapes that nobody wrote down, made from a seed, for each of its parsers.

    campaign.py [--shapes N] [--seed S] [--only NAME,...]     default: 150 shapes each; the long form: --shapes 10000

The server is affectd of AFFECT_BUILD (default: build/), started here with short time limits. Each shape is a
request (archives: an upload and its job) whose answer must be one of ours: nothing hangs, a refusal is
problem+json or a closed connection, no answer is 500, a job ends as one of a bad archive does. Event cursors are
held against the events themselves. At the end of each parser the server is ready and has its descriptors back; at the
very end it stops in time. A finding prints the shape with its seed, which makes it again; exit code 1.
"""
import argparse
import asyncio
import gzip
import io
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/service"))
from conftest import BUILD, Server  # noqa: E402

AT_ONCE = 64
HANG_SECONDS = 30
SETTINGS = {"header_timeout_seconds": 0.5, "body_timeout_seconds": 0.5, "min_body_bytes_per_second": 10000000,
            "heartbeat_seconds": 0.5, "job_slots": 2, "job_queue": 100000, "max_connections_per_address": 1000,
            "max_requests_per_address": 1000}
NUMBERS = [b"0", b"1", b"-1", b"00", b"2147483648", b"4294967296", b"9223372036854775807", b"9223372036854775808",
           b"18446744073709551615", b"18446744073709551616", b"1e9", b"0x10", b"1.5", b"nan", b"+1", b" 1", b"1 ", b""]
BYTES = [b"\0", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\t", b" ", b"%", b"%00", b"%2", b"%zz", b"%2e%2e%2f", b"/", b"//", b"..",
         b"/../", b"?", b"&", b"=", b"&&", b";", b"#", b"\x7f", b"\x80", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b"\"", b"'",
         b"\\", b"{", b"}", b"[", b"]", b",", b":", b"*", b"a" * 300, b"A" * 5000, b"(", b"<script>", b"$(id)", b"\xf0\x9f\x98\x80"]
PATHS = [b"/", b"/v1", b"/v1/jobs", b"/v1/models", b"/v1/datasets", b"/v1/jobs/JOB", b"/v1/jobs/JOB/events", b"/v1/system",
         b"/v1/jobs/JOB/metrics", b"/v1/jobs/JOB/plot.svg", b"/v1/jobs/JOB/confusion.svg", b"/v1/plot.svg?jobs=JOB",
         b"/v1/models/m/versions/1/artifact", b"/v1/datasets/d/report",
         b"/openapi.json", b"/metrics", b"/livez", b"/readyz", b"/v1/predictions", b"/v1/architectures", b"/v1/jobs/JOB/cancel"]
QUERIES = [b"limit", b"cursor", b"after", b"wait", b"state", b"type", b"compare", b"label", b"follow", b"x", b"", b"since", b"format"]
HEADERS = [b"Accept", b"Range", b"If-Range", b"If-None-Match", b"If-Match", b"Last-Event-ID", b"Content-Length", b"Transfer-Encoding",
           b"Content-Type", b"Host", b"Origin", b"Expect", b"Connection", b"Cookie", b"Authorization", b"X-Request-Id",
           b"Idempotency-Key", b"Upgrade", b"TE", b"Trailer", b"Via", b"Sec-Fetch-Site", b"Accept-Encoding", b"", b"A" * 300]
VALUES = [b"bytes=0-1", b"bytes=-5", b"bytes=--5", b"bytes=5-1", b"bytes=0-0,2-3", b"*", b"W/\"x\"", b"\"a\", \"b\"", b"\"", b"text/event-stream",
          b"application/json", b"chunked", b"gzip, chunked", b"identity", b"100-continue", b"close", b"keep-alive, upgrade", b"h2c",
          b"multipart/form-data; boundary=", b"multipart/form-data; boundary=\"x", b"http://evil.example", b"null", b"127.0.0.1", b"a/b",
          b"[::1]:1", b"cross-site", b"q=0.1;;,", b",,,,", b"=", *NUMBERS]


class Finding(Exception):
    pass


def mutate(rng, data, pieces, most=4):
    """A few random edits: bytes changed, pieces put in, ranges dropped, doubled, moved."""
    data = bytearray(data)
    for _ in range(rng.randint(1, most)):
        at, end = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
        end = min(end, at + rng.choice((1, 2, 8, 64, 1024)))
        kind = rng.randrange(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at:at] = rng.choice(pieces)
        elif kind == 2:
            del data[at:end]
        elif kind == 3:
            data[at:at] = data[at:end] * rng.choice((1, 1, 2, 30))
        elif kind == 4:
            data[at:end] = rng.choice(pieces)
        elif at < len(data):
            data[at] = rng.randrange(256)
    return bytes(data)


# ---- Requests, one maker a parser: rng -> bytes ----

def request(method=b"GET", target=b"/v1/jobs", headers=(), body=b"", version=b"HTTP/1.1"):
    lines = [b" ".join((method, target, version)), b"Host: 127.0.0.1", *(name + b": " + value for name, value in headers)]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def make_target(rng, job):
    path = rng.choice(PATHS).replace(b"JOB", job)
    if rng.random() < 0.3:
        path += b"?" + rng.choice(QUERIES) + b"=" + rng.choice(NUMBERS)
    path = mutate(rng, path, BYTES)
    return request(rng.choice((b"GET", b"GET", b"HEAD", b"POST", b"DELETE", b"OPTIONS", b"PATCH", b"get", b"G" * 40)), path,
                   version=rng.choice((b"HTTP/1.1",) * 6 + (b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.11", b"http/1.1", b"")))


def make_header(rng, job):
    headers = [(rng.choice(HEADERS), rng.choice(VALUES)) for _ in range(rng.choice((1, 1, 2, 3, 40)))]
    path = rng.choice(PATHS[:12]).replace(b"JOB", job)
    head = request(rng.choice((b"GET", b"GET", b"POST")), path, headers)[:-2]
    if rng.random() < 0.6:
        first = head.index(b"\r\n") + 2
        head = head[:first] + mutate(rng, head[first:], BYTES + [b"\r\n ", b"\r\n\t", b" :", b":", b"\n", b": chunked\r\n"], 3)
    body = rng.choice((b"", b"", b"{}", b"2\r\n{}\r\n0\r\n\r\n", b"ffffffffffffffff\r\n", b"2;x=\n{}\n0\n\n"))
    return head + b"\r\n" + body


def make_query(rng, job):
    n = rng.choice((1, 1, 2, 3, 8, 40, 600))
    pieces = [rng.choice(QUERIES) + rng.choice((b"=", b"", b"==")) + rng.choice(NUMBERS + BYTES[:40]) for _ in range(n)]
    text = b"&".join(pieces)
    if rng.random() < 0.5:
        text = mutate(rng, text, [piece for piece in BYTES if piece not in (b" ", b"\r", b"\n", b"\r\n", b"\r\n\r\n")])
    return request(b"GET", rng.choice(PATHS).replace(b"JOB", job) + b"?" + text)


DOCUMENTS = [
    {"type": "train", "dataset": "none", "architecture": "paper-optimized", "model": "m", "variables": {"dropout": 0.1},
     "split": {"kind": "random", "validation": 0.2, "seed": 1}, "training": {"epochs": 2, "batch_size": 8, "seed": 3,
     "schedule": {"kind": "plateau", "patience": 1}, "class_weights": {"angry": 1.5}}},
    {"type": "evaluate", "model": "m:1", "dataset": "none", "part": "validation"},
    {"name": "d", "layout": "iemocap", "source": {"path": "nothing"}, "features": {"preset": "mel-16k", "mel": {"clip_seconds": 4}},
     "labels": {"kind": "classes", "map": {"ang": "angry"}}},
    {}, {"architecture": {"name": "x", "inputs": {"a": {"feature": "mel", "shape": ["$frames", 1]}}, "branches": {}}, "type": "train"}]


def make_json(rng, job):
    document = json.loads(json.dumps(rng.choice(DOCUMENTS)))
    for _ in range(rng.randrange(3)):  # replace a member somewhere
        at = document
        while isinstance(at, dict) and at:
            name = rng.choice(list(at))
            if not isinstance(at[name], dict) or rng.random() < 0.4:
                at[name] = rng.choice((None, True, -1, 1e308, 1 << 70, "", "x" * 500, [], {}, [[]] * 3, {"a": {}}, "\u0000", "../x"))
                break
            at = at[name]
    body = json.dumps(document).encode()
    if rng.random() < 0.7:
        body = mutate(rng, body, BYTES + NUMBERS + [b"[" * 500, b"{\"a\":" * 200, b"\\ud800", b"\\u0000", b"1e999", b"-", b"tru", b"NaN", b"//"])
    path = rng.choice((b"/v1/jobs",) * 5 + (b"/v1/jobs?dry_run=true", b"/v1/datasets", b"/v1/datasets", b"/v1/jobs/" + job + b"/cancel"))
    kind = rng.choice((b"application/json",) * 8 + (b"application/json; charset=utf-8", b"text/plain", b"application/jsonx", b""))
    return request(rng.choice((b"POST",) * 20 + (b"PUT", b"PATCH")), path, [(b"Content-Type", kind)], body or b" ")


def multipart(parts, boundary=b"xyz"):
    body = b"".join(b"--" + boundary + b"\r\nContent-Disposition: form-data; name=\"" + name + b"\"" + extra + b"\r\n\r\n" + data +
                    b"\r\n" for name, extra, data in parts)
    return body + b"--" + boundary + b"--\r\n"


PARTS = [(b"model", b"", b"m"), (b"audio", b"; filename=\"u.wav\"", b"RIFF" + bytes(60)), (b"start", b"", b"1.5"), (b"end", b"", b"2"),
         (b"mocap_face", b"; filename=\"f\"\r\nContent-Type: text/plain", b"a\nb\n1 2 3\n"), (b"x", b"", b""),
         (b"archive", b"; filename=\"a.tar\"", b"x" * 600), (b"name", b"\r\nContent-Type: text/plain", b"d")]


def make_multipart(rng, job):
    parts = [rng.choice(PARTS) for _ in range(rng.choice((0, 1, 2, 4, 20)))]
    if rng.random() < 0.2:
        parts.append((b"model", b"", bytes(rng.randrange(256) for _ in range(rng.choice((1, 100, 5000))))))
    body = multipart(parts, rng.choice((b"xyz", b"xyz", b"xy", b"-", b"x" * 70)))
    if rng.random() < 0.7:
        body = mutate(rng, body, BYTES + [b"--xyz", b"--xyz--", b"\r\n--xyz\r\n", b"name=", b"Content-Disposition: form-data\r\n", b"; name=\"a\""])
    kind = rng.choice((b"multipart/form-data; boundary=xyz",) * 8 + (b"multipart/form-data; boundary=\"xyz\"", b"multipart/form-data",
                      b"multipart/form-data; boundary=", b"multipart/form-datax; boundary=xyz", b"multipart/mixed; boundary=xyz",
                      b"Multipart/Form-Data;boundary=xyz;boundary=a"))
    return request(b"POST", rng.choice((b"/v1/predictions", b"/v1/predictions", b"/v1/datasets")), [(b"Content-Type", kind)], body or b"-")


MAKERS = {"target": make_target, "header": make_header, "query": make_query, "json": make_json, "multipart": make_multipart}


# ---- Sending ----

async def exchange(port, data):
    """All bytes that come back; b"" when the server just closes."""
    async def talk():
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
        received = b""
        try:
            writer.write(data)
            while True:
                piece = await reader.read(1 << 16)
                if not piece:
                    break
                received += piece
                if is_whole(received, data.startswith(b"HEAD ")):
                    break
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()
        return received

    try:
        return await asyncio.wait_for(talk(), HANG_SECONDS)
    except asyncio.TimeoutError:
        raise Finding(f"no end of the answer within {HANG_SECONDS} s") from None


def head_of(received):
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    found = re.fullmatch(rb"HTTP/1\.[01] (\d{3}) .*", lines[0])
    if not found:
        raise Finding(f"not an answer of HTTP: {received[:200]!r}")
    return int(found[1]), {k.lower(): v.strip() for k, _, v in (line.partition(b":") for line in lines[1:])}, body


def is_whole(received, headers_only):
    if received.startswith(b"HTTP/1.1 100 "):
        received = received.partition(b"\r\n\r\n")[2]
    if b"\r\n\r\n" not in received:
        return False
    status, headers, body = head_of(received)
    if headers.get(b"content-type", b"").startswith(b"text/event-stream"):
        return True  # enough seen
    if headers_only:
        return True
    if b"content-length" in headers:
        return len(body) >= int(headers[b"content-length"]) or status in (204, 304)
    return status in (204, 304)


def check_answer(received):
    """Each answer in what came back (bytes behind a request are another); the first one's status, 0 when it was closed
    without a word."""
    first = 0
    while received:
        status, headers, body = head_of(received)
        size = 0 if status < 200 or status in (204, 304) else int(headers.get(b"content-length", len(body)))
        body, received = body[:size], body[size:]
        first = first if first > 100 else status
        check_one(status, headers, body)
        if not body and size:  # of HEAD
            break
    return first


def check_one(status, headers, body):
    if status >= 500 and status not in (501, 503, 505):
        raise Finding(f"{status}: {body[:400]!r}")
    if status >= 400 and body and headers.get(b"content-type") != b"application/problem+json":
        raise Finding(f"{status} that is no problem+json: {body[:400]!r}")
    if headers.get(b"content-type") != b"application/problem+json" or not body:
        return
    problem = json.loads(body)
    if problem["status"] != status or not problem["detail"]:
        raise Finding(f"a problem without its members: {body[:300]!r}")
    if re.search(rb"/(tmp|home|root|var)/\w", body):
        raise Finding(f"a path of the server in an answer: {body[:300]!r}")


class Campaign:
    def __init__(self, folder, seed, shapes):
        known = subprocess.run([BUILD / "bin/affectd", "--help"], capture_output=True, text=True, check=True).stdout
        self.server = Server(folder, **{k: v for k, v in SETTINGS.items() if k.replace("_", "-") in known or k in known})
        self.seed, self.shapes, self.findings = seed, shapes, {}

    def found(self, name, number, shape, reason):
        """Prints the first few of a kind: those whose reasons begin alike."""
        kind = (name, str(reason)[:30])
        self.findings[kind] = self.findings.get(kind, 0) + 1
        if self.findings[kind] <= 3:
            print(f"FINDING {name} shape {number} (seed {self.seed}): {reason}\n  {shape[:1500]!r}")

    async def run_parser(self, name, one, descriptors):
        statuses, numbers = {}, iter(range(self.shapes))

        async def worker():
            for number in numbers:
                shape = b""
                try:
                    shape, status = await one(random.Random(f"{self.seed} {name} {number}"))
                    statuses[status] = statuses.get(status, 0) + 1
                except Finding as finding:
                    self.found(name, number, finding.args[1] if len(finding.args) > 1 else shape, finding.args[0])

        begin = time.monotonic()
        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        seconds = time.monotonic() - begin
        try:
            self.server.wait_for(lambda: self.server.get("/readyz").status == 200, "readiness")
            self.server.wait_for(lambda: self.server.metric("process_open_fds") <= descriptors, "return of descriptors", 60)
        except (AssertionError, OSError) as error:
            self.found(name, -1, b"", f"afterwards: {error}")
        print(f"{name:10} {self.shapes} shapes in {seconds:.0f} s: " +
              ", ".join(f"{status} {n}" for status, n in sorted(statuses.items())), flush=True)

    def sender(self, make, job):
        async def one(rng):
            shape = make(rng, job)
            try:
                return shape, check_answer(await exchange(self.server.port, shape))
            except (Finding, ValueError) as finding:
                raise Finding(str(finding), shape) from None
        return one

    # ---- Archives: an upload and its job ----

    async def archive(self, rng):
        data = mutate(rng, rng.choice(self.archives), [b"\0" * 512, b"\xff" * 8, b"PK\3\4", b"\x1f\x8b\x08", b"ustar", b"7777777777\0"], 6)
        name = b"a%d" % rng.randrange(1 << 60)
        body = multipart([(b"name", b"", name), (b"archive", b"; filename=\"a\"", data)])
        shape = request(b"POST", b"/v1/datasets", [(b"Content-Type", b"multipart/form-data; boundary=xyz")], body)
        try:
            received = await exchange(self.server.port, shape)
            status = check_answer(received)
            if status != 202:
                return shape, status
            job = json.loads(head_of(received)[2])["id"].encode()
            while True:
                answer = json.loads(head_of(await exchange(self.server.port, request(b"GET", b"/v1/jobs/" + job + b"?wait=5")))[2])
                if answer["terminal"]:
                    break
        except (Finding, ValueError) as finding:
            raise Finding(str(finding), data) from None
        if answer["state"] == "failed" and answer["state_reason"] in ("dataset_invalid", "archive_invalid", "invalid"):
            return shape, f"failed ({answer['error']['code']})"
        if answer["state"] == "succeeded":
            await exchange(self.server.port, request(b"DELETE", b"/v1/datasets/" + name))
            return shape, "succeeded"
        raise Finding(f"its job: {answer['state']} {answer['state_reason']} {answer['error']}", data)

    # ---- Event cursors, against the events ----

    async def cursor(self, rng):
        n = len(self.events)
        given = rng.choice((b"%d" % rng.randint(-2, n + 3), b"%d" % rng.randint(0, n), rng.choice(NUMBERS), mutate(rng, b"12", NUMBERS + BYTES[:20], 2)))
        clean = re.fullmatch(rb"[0-9]{1,9}", given)
        way = rng.choice(("after", "header", "both"))
        path, headers = b"/v1/jobs/" + self.job + b"/events", [(b"Connection", b"close")]
        limit = rng.choice((None, b"1", b"3", b"1000", rng.choice(NUMBERS)))
        query = ([b"after=" + re.sub(rb"[^0-9A-Za-z.+-]", lambda m: b"%%%02X" % m[0][0], given)] if way != "header" else []) + ([b"limit=" + limit.replace(b" ", b"+")] if limit is not None else [])
        if way != "after":
            if re.search(rb"[\r\n\0]", given):
                given = b"1"
            headers.append((b"Last-Event-ID", given))
        stream = rng.random() < 0.5
        if stream:
            headers.append((b"Accept", b"text/event-stream"))
        shape = request(b"GET", path + (b"?" + b"&".join(query) if query else b""), headers)
        try:
            received = await self.read_all(shape) if stream else await exchange(self.server.port, shape)
            status = check_answer(received)
            if status == 200 and clean and way != "both":
                self.check_events(received, int(clean[0]), stream)
        except (Finding, ValueError) as finding:
            raise Finding(str(finding), shape) from None
        return shape, status

    async def read_all(self, shape):
        """A stream of a job that has ended: it ends too."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        try:
            writer.write(shape)
            return await asyncio.wait_for(reader.read(1 << 24), HANG_SECONDS)
        except ConnectionError:
            return b""
        except asyncio.TimeoutError:
            raise Finding("a stream of an ended job does not end") from None
        finally:
            writer.transport.abort()

    def check_events(self, received, after, stream):
        _, headers, body = head_of(received)
        if stream:
            numbers = [int(x) for x in re.findall(rb"^id: *(\d+)", body, flags=re.M)]
        else:
            numbers = [event["seq"] for event in json.loads(body)["data"]]
        if numbers and numbers != list(range(after + 1, after + 1 + len(numbers))):
            raise Finding(f"events {numbers[:5]}.. after {after}")

    def prepare(self):
        """A job that has ended and has events: an import of nothing that fails."""
        body = multipart([(b"name", b"", b"first"), (b"archive", b"; filename=\"a\"", self.archives[0])])
        answer = self.server.request("POST", "/v1/datasets", body, {"Content-Type": "multipart/form-data; boundary=xyz"})
        assert answer.status == 202, answer.body
        self.job = answer.json()["id"].encode()
        path = f"/v1/jobs/{self.job.decode()}"
        self.server.wait_for(lambda: self.server.get(path).json()["terminal"], "the end of the first job")
        self.events = self.server.get(path + "/events?limit=1000").json()["data"]
        assert [event["seq"] for event in self.events] == list(range(1, len(self.events) + 1))

    @property
    def archives(self):
        if not hasattr(self, "_archives"):
            self._archives = make_archives()
        return self._archives

    def run(self, only):
        self.prepare()
        self.server.get("/livez")
        descriptors = self.server.metric("process_open_fds") + 2
        parsers = {name: self.sender(make, self.job) for name, make in MAKERS.items()}
        parsers |= {"cursor": self.cursor, "archive": self.archive}
        for name, one in parsers.items():
            if not only or name in only:
                asyncio.run(self.run_parser(name, one, descriptors))
        begin = time.monotonic()
        code = self.server.stop(seconds=30)
        if code != 0:
            self.found("stop", -1, b"", f"exit code {code} after {time.monotonic() - begin:.1f} s")
        return 1 if self.findings else 0


def make_archives():
    entries = {"Session1/dialog/EmoEvaluation/Ses01F_impro01.txt":
               b"[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]\n",
               "Session1/dialog/transcriptions/Ses01F_impro01.txt": b"Ses01F_impro01_F000 [006.2901-008.2357]: Hello.\n",
               "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav": b"RIFF" + bytes(200)}
    made = []
    for mode in ("w:", "w:gz"):
        memory = io.BytesIO()
        with tarfile.open(fileobj=memory, mode=mode) as archive:
            for name, data in entries.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        made.append(memory.getvalue())
    made[0] = made[0][:-8192]
    made.append(gzip.compress(made[0]))
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w", compression) as archive:
            for name, data in entries.items():
                archive.writestr(name, data)
        made.append(memory.getvalue())
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", type=int, default=150, help="a parser")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--only", type=lambda text: set(text.split(",")), default=set())
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return Campaign(pathlib.Path(folder), arguments.seed, arguments.shapes).run(arguments.only)


if __name__ == "__main__":
    sys.exit(main())
