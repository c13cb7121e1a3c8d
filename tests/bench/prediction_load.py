#!/usr/bin/env python3
"""Many clients predict at once, good and bad requests mixed; then the server stops under that load, beside a hung worker.

    tests/bench/prediction_load.py BUILD [--predictions 5000] [--clients 32] [--seed 1]        (numpy, pytest)

Each good request must be answered by the bits of the reference; each bad one by its problem; a request that is cut gets
nothing. Afterwards the server is as before (descriptors, files, memory), and SIGTERM ends it within its ten seconds while
the clients go on and a training does not listen.
"""
import argparse
import collections
import os
import pathlib
import random
import signal
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("build", type=pathlib.Path)
parser.add_argument("--predictions", type=int, default=5000)
parser.add_argument("--clients", type=int, default=32)
parser.add_argument("--seed", type=int, default=1)
args = parser.parse_args()
os.environ["AFFECT_BUILD"] = str(args.build)
sys.path[:0] = [str(ROOT / "tests/service"), str(ROOT / "tests/corpus")]
from test_failures import TRAIN, Running, children, start_job  # noqa: E402


def requests(running):
    """name -> (status of the answer, parts); any may be 503 when the queue is full"""
    whole = {"model": "tiny:1", "audio": running.wav, "mocap_face": running.face, "mocap_head": running.head,
             "mocap_hand": running.hand, "start": "0.5", "end": "1.5"}
    return {
        "reference": (200, whole),
        "sound only": (200, {"audio": running.wav}),
        "no sound": (422, whole | {"audio": b"RIFF" + bytes(100)}),
        "no face": (200, whole | {"mocap_face": b"\xff" * 1000}),
        "no model": (404, whole | {"model": "none"}),
        "no window": (422, whole | {"start": "2", "end": "1"}),
    }


def cut(server, body):
    """A request whose client leaves in the middle of its body."""
    with server.connect() as link:
        link.sendall(b"POST /v1/predictions HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
                     b"Content-Length: %d\r\n\r\n--b\r\n" % len(body))
        link.sendall(body[:len(body) // 2])


def client(running, kinds, number, left, seen, wrong):
    draw = random.Random(f"{args.seed} {number}")
    while next(left, None) is not None:
        name = draw.choice([*kinds, "reference", "reference", "cut"])
        try:
            if name == "cut":
                cut(running.server, running.wav)
                seen[name, 0] += 1
                continue
            status, parts = kinds[name]
            answer = running.predict(**parts)
            seen[name, answer.status] += 1
            if answer.status not in (status, 503):
                wrong.append((name, answer.status, answer.body[:300]))
            elif name == "reference" and answer.status == 200 and answer.json()["probabilities"] != running.reference:
                wrong.append((name, "other bits", answer.body[:300]))
            elif name == "no face" and answer.status == 200 and not answer.json()["warnings"]:
                wrong.append((name, "without a warning", answer.body[:300]))
        except OSError as error:
            wrong.append((name, repr(error), b""))


def crowd(running, left, wrong):
    kinds, seen = requests(running), collections.Counter()
    threads = [threading.Thread(target=client, args=(running, kinds, i, left, seen, wrong)) for i in range(args.clients)]
    for thread in threads:
        thread.start()
    return threads, seen


class Shared:
    """An iterator for several threads."""

    def __init__(self, n):
        self.n, self.lock = n, threading.Lock()

    def __iter__(self):
        return self

    def __next__(self):
        with self.lock:
            if self.n <= 0:
                raise StopIteration
            self.n -= 1
            return self.n


def main():
    with tempfile.TemporaryDirectory(prefix="affectd-load-") as folder:
        running = Running(pathlib.Path(folder), prediction_queue=64, body_timeout_seconds=30, min_body_bytes_per_second=1000,
                          header_timeout_seconds=10, max_connections_per_address=200)
        wrong = []
        began = time.monotonic()
        threads, seen = crowd(running, Shared(args.predictions), wrong)
        for thread in threads:
            thread.join()
        for (name, status), n in sorted(seen.items()):
            print(f"{name:12} {status or 'cut':4} {n}")
        print(f"{sum(seen.values())} requests of {args.clients} clients in {time.monotonic() - began:.1f} s, {len(wrong)} wrong")
        for row in wrong[:10]:
            print(*row)
        running.check()
        print("afterwards: ready, same bits, same descriptors, same files")

        job = start_job(running.server, "/v1/jobs", TRAIN | {"training": {"epochs": 100000, "batch_size": 4}})
        running.server.wait_for(lambda: running.server.get(f"/v1/jobs/{job}").json()["state"] == "running", "a training")
        hung, = children(running.server.process.pid)["train"]
        left = Shared(1 << 30)
        threads, _ = crowd(running, left, [])
        time.sleep(2)
        os.kill(hung, signal.SIGSTOP)
        began = time.monotonic()
        code = running.server.stop(seconds=30)
        took = time.monotonic() - began
        left.n = 0
        for thread in threads:
            thread.join()
        print(f"SIGTERM under that load, a training hung: exit {code} after {took:.2f} s")
        return 0 if not wrong and code == 0 and took < 10 else 1


sys.exit(main())
